#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tests/bench/child_process.h"

namespace backup::bench {

// A PostgreSQL of the newest release that this machine has, with its own settings, so as durable as
// it is by itself, and one database; it listens on a socket in its folder only. Used by one thread
// at a time.
class PostgresServer {
 public:
  // In `dir`, a folder that is not there yet. Nothing if none is installed.
  static absl::StatusOr<std::optional<PostgresServer>> Start(const std::string& dir);

  // What --catalog takes.
  std::string url() const;
  // What all its processes have used so far, those that have ended since it started too.
  double CpuSeconds() const;
  // All that it committed in its database so far.
  absl::StatusOr<double> Transactions() const;

 private:
  PostgresServer(ChildProcess process, std::string dir)
      : process_(std::move(process)), dir_(std::move(dir)) {}
  // The first value of what `sql` yields in the database `database`.
  absl::StatusOr<std::string> Ask(absl::string_view database, const std::string& sql) const;
  absl::Status WaitUntilItAnswers();

  ChildProcess process_;
  std::string dir_;
};

}  // namespace backup::bench
