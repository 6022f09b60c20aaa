#pragma once

#include <atomic>
#include <list>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage::postgres {

// Stands between a catalog and its server, on a Unix socket of its own, and loses the answer to a
// commit when it is asked to: the server has committed, and the connection ends. Thread-safe.
class CuttingProxy {
 public:
  // `server` is the server's socket.
  explicit CuttingProxy(std::string server);
  ~CuttingProxy();
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  // For a conninfo.
  const std::string& host() const { return folder_.path(); }
  // The next commit's answer is lost.
  void LoseNextCommit() { loses_commit_ = true; }
  // Whether none is to be lost any more.
  bool has_lost() const { return !loses_commit_; }

 private:
  void Accept();
  void Serve(const UniqueFd& client);

  const std::string server_;
  const TempFolder folder_;
  UniqueFd listener_;
  std::atomic<bool> loses_commit_ = false;
  std::atomic<bool> is_stopped_ = false;
  std::list<std::jthread> connections_;  // The acceptor's.
  std::jthread acceptor_;
};

}  // namespace backup::storage::postgres
