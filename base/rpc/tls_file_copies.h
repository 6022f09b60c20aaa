#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/rpc/tls.h"
#include "base/unique_fd.h"

namespace backup::rpc {

// Copies of TLS files, in memory, for gRPC to watch. They are renewed when the files have changed
// and are fit (CheckTlsFiles); else the last fit ones stay, and the log says why. gRPC itself would
// refuse every handshake while files do not fit each other, be it for the moment between the
// renewal of a certificate and that of its key. Thread-safe.
class TlsFileCopies {
 public:
  // The error met if the files are not fit now.
  static absl::StatusOr<std::unique_ptr<TlsFileCopies>> Make(const TlsFiles& files);

  // Where this process finds the copies, as long as this lives. Without files without copies.
  const TlsFiles& copies() const { return copies_; }

 private:
  struct Copy {
    std::string source;
    UniqueFd fd;
  };

  explicit TlsFileCopies(TlsFiles files) : files_(std::move(files)) {}
  // Adds a copy, empty at first; its path. An empty path has none.
  absl::StatusOr<std::string> Add(const std::string& source);
  // Copies the files if they are fit.
  absl::Status Renew();
  void Follow(const std::stop_token& token);

  const TlsFiles files_;
  TlsFiles copies_;
  std::vector<Copy> all_;
  std::string version_;  // Of the files that were copied.
  std::jthread thread_;  // Ends first.
};

}  // namespace backup::rpc
