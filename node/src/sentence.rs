//! An error as one sentence.

/// The error and its causes, each said once: many libraries repeat the cause in their own message.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if said.is_empty() {
            said = words;
        } else if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
    }
    // Peers, files and parsers may say several lines; a person at a prompt wants one.
    said.split('\n').map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n  ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_said_once() {
        let inner = std::io::Error::other("disk on fire");
        let outer =
            Err::<(), _>(inner).context("cannot write: disk on fire").context("scene a.glb").unwrap_err();
        assert_eq!(sentence(&outer), "scene a.glb: cannot write: disk on fire");
    }
}
