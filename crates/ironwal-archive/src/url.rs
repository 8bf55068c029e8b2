//! Addresses of archives.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use url::Url;

use crate::error::{Error, Result};
use crate::secrets::Secrets;

const SCHEMES: &str = "file:///path, s3://bucket/path, gs://bucket/path or az://container/path";

/// Those that a feature is for.
const REMOTE: [&str; 8] = ["s3", "s3a", "gs", "az", "abfs", "abfss", "azure", "adl"];

/// The store at an address, and the place in it.
pub(crate) fn open(address: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
    // What is wrong with an address is told without it: it may hold a credential.
    let url = Url::parse(address).map_err(|error| {
        Error::Config(format!("the address of the archive cannot be read ({error}): use {SCHEMES}"))
    })?;
    let has_secrets = !url.username().is_empty() || url.password().is_some();
    if has_secrets || url.query().is_some() || url.fragment().is_some() {
        return Err(Error::Config(
            "the address of the archive has a user, a query or a fragment: credentials come from the \
             environment"
                .into(),
        ));
    }
    if url.scheme() == "file" {
        return open_local(&url);
    }
    let prefix = Path::from_url_path(url.path()).map_err(|error| unusable(&error))?;
    Ok((open_remote(&url)?, prefix))
}

fn unusable(error: &dyn std::fmt::Display) -> Error {
    let cause = Secrets::of_environment().redact(&error.to_string());
    Error::Config(format!(
        "the address of the archive, or its settings in the environment: {cause}"
    ))
}

fn open_local(url: &Url) -> Result<(Arc<dyn ObjectStore>, Path)> {
    let Ok(dir) = url.to_file_path() else {
        return Err(Error::Config(
            "the address of the archive has no path: use file:///path".into(),
        ));
    };
    let prefix = Path::from_absolute_path(&dir).map_err(|error| unusable(&error))?;
    // What is acknowledged survives power loss, as it does elsewhere.
    Ok((Arc::new(LocalFileSystem::new().with_fsync(true)), prefix))
}

fn open_remote(url: &Url) -> Result<Arc<dyn ObjectStore>> {
    match url.scheme() {
        #[cfg(feature = "aws")]
        "s3" | "s3a" => {
            let builder = object_store::aws::AmazonS3Builder::from_env().with_url(url.as_str());
            Ok(Arc::new(builder.build().map_err(|error| unusable(&error))?))
        }
        #[cfg(feature = "gcp")]
        "gs" => {
            let builder = object_store::gcp::GoogleCloudStorageBuilder::from_env();
            let store = builder.with_url(url.as_str()).build();
            Ok(Arc::new(store.map_err(|error| unusable(&error))?))
        }
        #[cfg(feature = "azure")]
        "az" | "abfs" | "abfss" | "azure" | "adl" => {
            let builder = object_store::azure::MicrosoftAzureBuilder::from_env();
            let store = builder.with_url(url.as_str()).build();
            Ok(Arc::new(store.map_err(|error| unusable(&error))?))
        }
        scheme if REMOTE.contains(&scheme) => Err(Error::Config(format!(
            "this program was built without {}://: build it with the feature for it (aws, gcp or azure; \
                 of the program ironwal, cloud)",
            scheme
        ))),
        scheme => {
            Err(Error::Config(format!("{scheme}:// is no store that is known: use {SCHEMES}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_credentials_are_refused_and_not_repeated() {
        for address in [
            "s3://me:hush@bucket/path",
            "s3://hush@bucket/path",
            "az://container/path?sig=hush",
            "file:///tmp/x#hush",
            "hush://bucket/path?hush",
            "hush hush",
        ] {
            let error = open(address).err().unwrap();
            assert!(matches!(error, Error::Config(_)), "{address}: {error:?}");
            assert!(!error.to_string().contains("hush"), "{address}: {error}");
        }
    }

    #[test]
    fn unknown_stores_are_named() {
        let error = open("ftp://bucket/path").err().unwrap().to_string();
        assert!(error.contains("ftp://") && error.contains("s3://"), "{error}");
    }
}
