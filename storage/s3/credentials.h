#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/secret_bytes.h"

namespace backup::storage::s3 {

// Who asks a store. Not to be logged.
struct Credentials {
  std::string access_key;
  std::string secret_key;
  std::string session_token;  // Of temporary ones; may be empty.

  ~Credentials() {  // Each copy is wiped.
    Wipe(secret_key);
    Wipe(session_token);
  }

  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// Where they come from: the first of these that is there.
struct CredentialsOptions {
  // A file as the AWS tools have it: [PROFILE], aws_access_key_id=, aws_secret_access_key=, and
  // aws_session_token= if there is one. Empty: not given.
  std::string file;
  std::string profile = "default";
  // The value of an environment variable, or null: AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY and
  // AWS_SESSION_TOKEN; CREDENTIALS_DIRECTORY, where systemd puts the credential "s3";
  // AWS_SHARED_CREDENTIALS_FILE; HOME, for .aws/credentials. AWS_PROFILE is heeded unless `profile`
  // is another than the default. Thread-safe.
  std::function<const char*(const char*)> environment;
  // They are not read again sooner.
  std::chrono::milliseconds reload_interval{1000};
};

// The file that they are read from; empty if they are variables, or there are none.
std::string CredentialsFile(const CredentialsOptions& options);

// A file's content as CredentialsOptions says. InvalidArgument, without any of its content.
absl::StatusOr<Credentials> ParseCredentials(const std::string& text, const std::string& profile);

// Credentials that may be exchanged while the process runs: files are read anew when the store
// refuses what was in them. Thread-safe.
class CredentialsSource {
 public:
  // Reads them once. NotFound if there are none anywhere; InvalidArgument, and what the file system
  // says of a file, in one line that names the file and tells nothing of what is in it.
  static absl::StatusOr<std::unique_ptr<CredentialsSource>> Open(CredentialsOptions options);

  // The newest that were read.
  std::shared_ptr<const Credentials> Get() const;
  // Reads them again, unless that was done within the reload_interval; whether they are others than
  // `refused` now. What cannot be read changes nothing.
  bool Reload(const Credentials& refused);

 private:
  explicit CredentialsSource(CredentialsOptions options) : options_(std::move(options)) {}
  absl::StatusOr<Credentials> Load() const;

  const CredentialsOptions options_;
  Mutex reload_mutex_;  // Before mutex_.
  std::chrono::steady_clock::time_point next_reload_ ABSL_GUARDED_BY(reload_mutex_);
  mutable Mutex mutex_;
  std::shared_ptr<const Credentials> newest_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::storage::s3
