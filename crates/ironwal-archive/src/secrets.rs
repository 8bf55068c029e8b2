//! Keeping credentials out of what is told.
//!
//! Clients of stores put addresses and answers into their messages. What the environment has under a name
//! that sounds like a credential, and the query of any address, is taken out of them.

/// What the names of variables with credentials contain.
const NAMES: [&str; 7] =
    ["SECRET", "TOKEN", "KEY", "PASSWORD", "CREDENTIAL", "SAS", "ACCOUNT_JSON"];

/// The variables that clients of stores read begin with these.
const PREFIXES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// Shorter values are no credentials, and would be found in ordinary text.
const LEN_MIN: usize = 4;

/// What must not be told.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Those of the environment.
    pub(crate) fn of_environment() -> Self {
        Self::among(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    fn among(variables: impl Iterator<Item = (String, String)>) -> Self {
        let is_secret = |name: &str| {
            PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                && NAMES.iter().any(|part| name.contains(part))
        };
        let mut secrets: Vec<String> = variables
            .filter(|(name, value)| is_secret(&name.to_ascii_uppercase()) && value.len() >= LEN_MIN)
            .map(|(_, value)| value)
            .collect();
        // The longest first: one may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The text without them.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut text = text.to_string();
        for secret in &self.0 {
            text = text.replace(secret, "[redacted]");
        }
        without_queries(&text)
    }
}

/// Cuts off what follows a `?` in an address, up to where the address ends.
fn without_queries(text: &str) -> String {
    let mut rest = text;
    let mut clean = String::new();
    while let Some(start) = rest.find("://") {
        let (before, address) = rest.split_at(start + 3);
        clean.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | '>' | ',');
        let end = address.find(ends).unwrap_or(address.len());
        let (address, after) = address.split_at(end);
        let address = address.rsplit_once('@').map_or(address, |(_, host)| host);
        match address.split_once('?') {
            Some((plain, _)) => {
                clean.push_str(plain);
                clean.push_str("?[redacted]");
            }
            None => clean.push_str(address),
        }
        rest = after;
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_what_is_told() {
        let variables = [
            ("AWS_SECRET_ACCESS_KEY", "hush-hush"),
            ("AWS_SESSION_TOKEN", "hush-hush-too"),
            ("AZURE_STORAGE_SAS_KEY", "sig%3Dabc"),
            ("AWS_REGION", "eu-north-1"),
            ("MY_SECRET", "not-a-store's"),
            ("AWS_EMPTY_KEY", ""),
        ];
        let secrets =
            Secrets::among(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        assert_eq!(
            secrets.redact("403 for hush-hush-too and hush-hush in eu-north-1: sig%3Dabc"),
            "403 for [redacted] and [redacted] in eu-north-1: [redacted]"
        );
    }

    #[test]
    fn queries_and_users_are_taken_out_of_addresses() {
        let secrets = Secrets::default();
        assert_eq!(
            secrets.redact("error for url (https://me:pw@host/a/b?X-Sig=abc&x=1), \"http://h/c\""),
            "error for url (https://host/a/b?[redacted]), \"http://h/c\""
        );
        assert_eq!(secrets.redact("why? because"), "why? because");
    }
}
