#include "tests/bench/postgres_server.h"

#include <libpq-fe.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status_macros.h"

namespace backup::bench {
namespace {

constexpr char kInstalled[] = "/usr/lib/postgresql";
// Debian's package makes it; as root the server refuses to run.
constexpr char kUser[] = "postgres";
constexpr char kDatabase[] = "backup";
constexpr absl::Duration kStartTimeout = absl::Seconds(60);
constexpr absl::Duration kPollInterval = absl::Milliseconds(20);

// The programs' folder; empty without any.
std::string NewestRelease() {
  std::string newest;
  int newest_release = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kInstalled, error)) {
    int release = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &release)) continue;
    const std::string programs = entry.path().string() + "/bin/";
    if (release > newest_release && std::filesystem::exists(programs + "postgres"))
      newest = programs, newest_release = release;
  }
  return newest;
}

absl::Status GiveToUser(const std::string& dir) {
  const passwd* const user = ::getpwnam(kUser);
  if (user == nullptr || ::chown(dir.c_str(), user->pw_uid, user->pw_gid) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("give ", dir, " to ", kUser));
  return absl::OkStatus();
}

// In front of a command of the server's programs: it ends with this process, as whoever it must be.
std::vector<std::string> Prefix() {
  std::vector<std::string> prefix = {"/usr/bin/setpriv", "--pdeathsig=KILL"};
  if (::geteuid() == 0) {
    for (const char* option : {"--reuid=", "--regid="})
      prefix.push_back(absl::StrCat(option, kUser));
    prefix.push_back("--clear-groups");
  }
  return prefix;
}

absl::StatusOr<ChildProcess> StartProgram(const std::string& dir, const std::string& name,
                                          const std::vector<std::string>& args) {
  std::vector<std::string> command = Prefix();
  command.insert(command.end(), args.begin(), args.end());
  return ChildProcess::Start(std::move(command), absl::StrCat(dir, "/", name, ".out"),
                             absl::StrCat(dir, "/", name, ".log"));
}

absl::Status MakeCluster(const std::string& programs, const std::string& dir) {
  ASSIGN_OR_RETURN(ChildProcess initdb,
                   StartProgram(dir, "initdb",
                                {programs + "initdb", absl::StrCat("--pgdata=", dir, "/data"),
                                 absl::StrCat("--username=", kUser), "--auth=trust",
                                 "--encoding=UTF8", "--locale=C.UTF-8"}));
  double cpu_seconds = 0;
  if (initdb.WaitForEnd(&cpu_seconds) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("initdb failed: see ", dir, "/initdb.log"));
}

}  // namespace

absl::StatusOr<std::optional<PostgresServer>> PostgresServer::Start(const std::string& dir) {
  const std::string programs = NewestRelease();
  if (programs.empty()) return std::nullopt;
  std::filesystem::create_directory(dir);
  if (::geteuid() == 0) RETURN_IF_ERROR(GiveToUser(dir));
  RETURN_IF_ERROR(MakeCluster(programs, dir));
  ASSIGN_OR_RETURN(ChildProcess process, StartProgram(dir, "postgres",
                                                      {programs + "postgres", "-D", dir + "/data",
                                                       "-k", dir, "-c", "listen_addresses="}));
  PostgresServer server(std::move(process), dir);
  RETURN_IF_ERROR(server.WaitUntilItAnswers());
  RETURN_IF_ERROR(server.Ask("postgres", absl::StrCat("CREATE DATABASE ", kDatabase)).status());
  return server;
}

std::string PostgresServer::url() const {
  return absl::StrCat("postgres://", kUser, "@/", kDatabase, "?host=", dir_);
}

double PostgresServer::CpuSeconds() const { return process_.CpuSecondsWithChildren(); }

absl::StatusOr<double> PostgresServer::Transactions() const {
  ASSIGN_OR_RETURN(
      const std::string text,
      Ask("postgres", absl::StrCat("SELECT xact_commit FROM pg_stat_database WHERE datname = '",
                                   kDatabase, "'")));
  double count = 0;
  if (absl::SimpleAtod(text, &count)) return count;
  return absl::InternalError(absl::StrCat("PostgreSQL counts \"", text, "\" transactions"));
}

absl::StatusOr<std::string> PostgresServer::Ask(absl::string_view database,
                                                const std::string& sql) const {
  const std::string where = absl::StrCat("host=", dir_, " user=", kUser, " dbname=", database);
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(where.c_str()),
                                                                &PQfinish);
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection.get(), sql.c_str()),
                                                             &PQclear);
  switch (PQresultStatus(result.get())) {
    case PGRES_COMMAND_OK:
      return "";
    case PGRES_TUPLES_OK:
      return PQntuples(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : "";
    default:
      return absl::UnavailableError(PQerrorMessage(connection.get()));
  }
}

absl::Status PostgresServer::WaitUntilItAnswers() {
  absl::Status answered;
  for (absl::Duration waited; waited < kStartTimeout; waited += kPollInterval) {
    answered = Ask("postgres", "SELECT 1").status();
    if (answered.ok() || process_.HasEnded()) break;
    absl::SleepFor(kPollInterval);
  }
  return answered;
}

}  // namespace backup::bench
