#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace backup::bench {

// A file server that somebody might use instead of ours. Runs from a folder of its own, on a free
// loopback port, until it is destroyed. Used by one thread at a time.
class OtherServer {
 public:
  explicit OtherServer(std::string name) : name_(std::move(name)) {}
  virtual ~OtherServer() = default;

  const std::string& name() const { return name_; }
  // Has it receive a file of `size` bytes, a multiple of 1 MiB, which does not stay. Returns the
  // seconds from before the connection until the file is durable: by the server's answer and, if
  // the server does not sync what it receives, a sync by us.
  virtual absl::StatusOr<double> Upload(int64_t size) = 0;

 private:
  const std::string name_;
};

// Starts nginx (PUT by WebDAV), rsync (its daemon) and vsftpd, each in a folder below `dir`. Those
// of them that are installed neither below `root`, as their packages have it, nor in the system are
// left out, with a line on standard error.
absl::StatusOr<std::vector<std::unique_ptr<OtherServer>>> StartOtherServers(const std::string& root,
                                                                            const std::string& dir);

}  // namespace backup::bench
