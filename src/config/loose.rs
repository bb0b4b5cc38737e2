//! Files and folders of the daemon's that others than their owner may use, told to the operator by the
//! start and by `check`. Nothing is changed: somebody may have meant it.

use std::path::Path;

use super::Config;
use crate::control::secret_files;
use crate::private;

impl Config {
    /// What of the data and of the keys is open to others than its owner, and what would help, for people.
    #[must_use]
    pub fn loose(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let mut remark = |path: &Path, rights: Option<String>, holds: &str, wanted: &str| {
            if let Some(rights) = rights {
                let path = path.display();
                remarks.push(format!(
                    "{path} has the rights {rights} and {holds}: `chmod {wanted} {path}` closes it to others"
                ));
            }
        };
        for folder in [&self.data_dir, &self.journal.directory] {
            remark(folder, private::looser(folder), "holds events and keys", "700");
        }
        for file in secret_files(&self.data_dir) {
            remark(&file, private::looser(&file), "holds what opens the control plane", "600");
        }
        let tls = [self.ingest.as_ref().and_then(|it| it.tls.as_ref()), self.api.tls.as_ref()];
        for tls in tls.into_iter().flatten() {
            // Group rights are how several services share a key.
            let rights = private::open_to_all(&tls.key);
            remark(&tls.key, rights, "is a private key that everybody may use", "o=");
        }
        remarks
    }
}
