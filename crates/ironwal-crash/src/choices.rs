//! Which of the choices at one point are tried.

use fastrand::Rng;

use crate::pieces::{Picks, Piece, nth_choice, plain_choices};

/// Up to so many choices are tried all, tears aside: those of 12 sectors, kept or lost.
const CHOICES_MAX: usize = 1 << 12;

/// Up to so many pieces, a sector is torn with every choice of the others.
const TORN_AMONG_MAX: usize = 4;

/// At most `limit` choices, and whether these are all within the bounds.
///
/// All of them, if they are few enough. Otherwise everything kept and everything lost first; then,
/// if they fit, each piece alone lost, alone kept, lost with all behind it, and torn; then any.
pub(crate) fn choices(pieces: &[Piece], limit: usize, rng: &mut Rng) -> (Vec<Picks>, bool) {
    let count = plain_choices(pieces).filter(|count| *count <= CHOICES_MAX);
    let tears = torn(pieces);
    if let Some(count) = count
        && count.saturating_add(tears.len()) <= limit
    {
        let mut all: Vec<Picks> = (0..count).map(|number| nth_choice(pieces, number)).collect();
        all.extend(tears);
        return (all, true);
    }
    let all_kept = vec![0; pieces.len()];
    let all_lost: Picks = pieces.iter().map(Piece::lost).collect();
    let mut directed = tears;
    for (number, piece) in pieces.iter().enumerate() {
        for option in 1..piece.plain() {
            directed.push(with(&all_kept, number, option));
            directed.push(with(&all_lost, number, option));
        }
        directed.push(with(&all_lost, number, 0));
        directed.push(lost_from(&all_lost, number));
    }
    let mut chosen = vec![all_kept, all_lost];
    let room = limit.saturating_sub(chosen.len());
    // Some of each kind, if there is no room for all of them.
    rng.shuffle(&mut directed);
    directed.truncate(room - room / 3);
    chosen.append(&mut directed);
    while chosen.len() < limit {
        chosen.push(any(pieces, rng));
    }
    chosen.truncate(limit);
    (chosen, false)
}

fn with(picks: &Picks, number: usize, option: usize) -> Picks {
    let mut picks = picks.clone();
    picks[number] = option;
    picks
}

/// As if everything reached the disk in order, up to one piece.
fn lost_from(all_lost: &Picks, number: usize) -> Picks {
    let keep = |(at, lost): (usize, &usize)| if at < number { 0 } else { *lost };
    all_lost.iter().enumerate().map(keep).collect()
}

/// Each way in which one sector is torn: among few pieces with every choice of the others, otherwise
/// with all of them kept, lost, or kept up to it.
fn torn(pieces: &[Piece]) -> Vec<Picks> {
    let all_kept = vec![0; pieces.len()];
    let all_lost: Picks = pieces.iter().map(Piece::lost).collect();
    let mut found = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        if piece.options() == piece.plain() {
            continue;
        }
        let others = match plain_choices(pieces) {
            Some(count) if pieces.len() <= TORN_AMONG_MAX => {
                let all = (0..count).map(|nth| nth_choice(pieces, nth));
                all.filter(|picks| picks[number] == 0).collect()
            }
            _ => vec![all_kept.clone(), all_lost.clone(), lost_from(&all_lost, number)],
        };
        for option in piece.plain()..piece.options() {
            found.extend(others.iter().map(|picks| with(picks, number, option)));
        }
    }
    found
}

/// Any choice. Most is kept, or most lost, or half: with even chances alone, "all but one" would
/// practically never come up, and it is where the bugs are.
fn any(pieces: &[Piece], rng: &mut Rng) -> Picks {
    let lost_of_16 = [1, 3, 8, 13, 15][rng.usize(..5)];
    let torn_of_16 = [0, 0, 1][rng.usize(..3)];
    let pick = |piece: &Piece| {
        if piece.options() > piece.plain() && rng.u8(..16) < torn_of_16 {
            rng.usize(piece.plain()..piece.options())
        } else if rng.u8(..16) >= lost_of_16 {
            0
        } else if rng.u8(..4) == 0 {
            rng.usize(1..piece.plain())
        } else {
            piece.lost()
        }
    };
    pieces.iter().map(pick).collect()
}
