#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "storage/testing/memory_folder.h"

namespace backup::storage::postgres {

// A PostgreSQL server of a test's own, in a folder that goes away with it, on a Unix socket. The
// role "backup" needs no password; the role "guarded" has the password "right". Used by one thread
// at a time, but for the conninfos.
class PostgresServer {
 public:
  // Where the newest installed server's programs are; empty if there is none.
  static std::string Programs();
  // That of the process; null if none is installed. It is restarted if a test stopped it.
  static PostgresServer* Shared();

  PostgresServer();
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  // Starts it, with its socket in this folder of its own; waits until it takes connections.
  void Start(const std::string& socket_folder = "socket");
  bool is_running() const { return process_ > 0; }
  // Ends it as a crash does, with SIGKILL to its main process.
  void Kill();
  // Ends it as its administrator does.
  void Stop();

  // `more` are other words of the conninfo.
  std::string Conninfo(const std::string& more = "") const;
  // A conninfo of a new, empty schema.
  std::string NewSchema();
  // Runs a statement as its administrator; dies if that fails.
  void Execute(const std::string& sql) const;
  // The first column of the first row.
  std::string Ask(const std::string& sql) const;
  std::string SocketFolder(const std::string& name = "socket") const;

 private:
  void Initialize();
  bool IsReady() const;

  const MemoryFolder folder_;
  const std::string data_;
  std::string socket_folder_;
  pid_t process_ = 0;
  int next_schema_ = 1;
};

}  // namespace backup::storage::postgres
