# fish completion of backupctl, of the version that is installed.
backupctl completion fish | source
