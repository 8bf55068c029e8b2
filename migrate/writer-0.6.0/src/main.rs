//! `ironwal-writer-0-6-0 KIND DIR`: writes a directory of this kind with 0.6.0.

#[path = "../../tests/it/writing.rs"]
mod writing;

fn main() {
    let mut args = std::env::args().skip(1);
    let (kind, dir) = (args.next().expect("KIND"), args.next().expect("DIR"));
    writing::write(&kind, std::path::Path::new(&dir));
}
