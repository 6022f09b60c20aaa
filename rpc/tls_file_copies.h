#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/periodic_task.h"
#include "base/unique_fd.h"
#include "rpc/tls.h"

namespace backup::rpc {

// Copies of TLS files, in memory, for gRPC to watch. They are renewed when the files have changed
// and are fit (CheckTlsFiles); else the last fit ones stay, and the log says why. gRPC itself would
// refuse every handshake while files do not fit each other, even for the moment between the
// renewal of a certificate and that of its key. Thread-safe.
class TlsFileCopies {
 public:
  // The error met if the files are not fit now.
  static absl::StatusOr<std::unique_ptr<TlsFileCopies>> Make(const TlsFiles& files);

  // Has the files looked at soon, and copied if they are fit, whether they seem changed or not.
  void Reload();

  // Where this process finds the copies, as long as this lives. Empty paths where there are no
  // files.
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
  // Renews the copies if the files have changed and stay as they are now, or at a reload.
  void Look();

  const TlsFiles files_;
  TlsFiles copies_;
  std::vector<Copy> all_;
  std::string version_;                 // Of the files that were copied.
  std::string seen_;                    // The version at the last look. Look()'s own, as is:
  std::string complaint_;               // The last one that was logged.
  std::atomic<bool> is_asked_ = false;  // By Reload().
  std::optional<PeriodicTask> looks_;   // Ends first.
};

}  // namespace backup::rpc
