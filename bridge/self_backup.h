#pragma once

#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace backup::bridge {

struct SelfBackupOptions {
  std::string directory;      // All regular files below it are backed up.
  std::string legacy_client;  // The program to do it with.
  std::string address;        // Of the bridge, "HOST:PORT".
  absl::Duration time_limit = absl::Minutes(5);
};

// Backs up the legacy client's own sources through the front door, once, on a thread of its own:
// the self-test of
// --encrypt. Tells the outcome in one CRITICAL line. The client works in a temporary folder, which
// is removed.
class SelfBackup {
 public:
  explicit SelfBackup(SelfBackupOptions options);
  // Ends the client if it still runs.
  ~SelfBackup() = default;

 private:
  std::jthread thread_;
};

// What the thread does: OK once the client has ended with 0.
absl::Status BackUpDirectory(const SelfBackupOptions& options, const std::stop_token& token);

}  // namespace backup::bridge
