#include "tests/bench/catalog_load.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "tests/bench/postgres_server.h"
#include "tests/bench/session_load.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

// Of all runs on one catalog.
struct Runs {
  std::vector<double> per_second;
  double sessions = 0;
  double service_seconds = 0;

  void Add(const SessionLoadResult& load) {
    per_second.push_back(load.sessions_per_second);
    sessions += static_cast<double>(load.sessions);
    service_seconds += load.cpu.service_seconds;
  }
  double MillisecondsOf(double seconds) const { return 1e3 * seconds / sessions; }
};

absl::StatusOr<std::unique_ptr<ServerPair>> StartIn(const Programs& programs,
                                                    const std::string& dir,
                                                    const std::vector<std::string>& flags) {
  std::filesystem::create_directory(dir);
  return ServerPair::Start(programs, dir, flags);
}

}  // namespace

absl::StatusOr<std::optional<CatalogLoadResult>> MeasureCatalogLoad(const Programs& programs,
                                                                    const std::string& dir,
                                                                    int clients,
                                                                    absl::Duration duration,
                                                                    int runs) {
  ASSIGN_OR_RETURN(const std::optional<PostgresServer> server,
                   PostgresServer::Start(dir + "/server"));
  if (!server) return std::nullopt;
  ASSIGN_OR_RETURN(const auto on_sqlite, StartIn(programs, dir + "/sqlite", {}));
  ASSIGN_OR_RETURN(const auto on_postgres, StartIn(programs, dir + "/postgres",
                                                   {absl::StrCat("--catalog=", server->url())}));
  Runs sqlite;
  Runs postgres;
  double server_seconds = 0;
  double transactions = 0;
  for (int run = 0; run < runs; ++run) {
    ASSIGN_OR_RETURN(const SessionLoadResult first,
                     MeasureSessionLoad(*on_sqlite, clients, duration));
    sqlite.Add(first);
    const double server_start = server->CpuSeconds();
    ASSIGN_OR_RETURN(const double transactions_start, server->Transactions());
    ASSIGN_OR_RETURN(const SessionLoadResult second,
                     MeasureSessionLoad(*on_postgres, clients, duration));
    postgres.Add(second);
    server_seconds += server->CpuSeconds() - server_start;
    ASSIGN_OR_RETURN(const double transactions_end, server->Transactions());
    transactions += transactions_end - transactions_start;
  }
  return CatalogLoadResult{
      Median(sqlite.per_second),
      Median(postgres.per_second),
      sqlite.MillisecondsOf(sqlite.service_seconds),
      postgres.MillisecondsOf(postgres.service_seconds),
      postgres.MillisecondsOf(server_seconds),
      transactions / postgres.sessions,
  };
}

}  // namespace backup::bench
