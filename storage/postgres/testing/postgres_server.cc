#include "storage/postgres/testing/postgres_server.h"

#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace backup::storage::postgres {
namespace {

constexpr std::chrono::seconds kStartTimeout(60);
constexpr std::chrono::milliseconds kPollInterval(10);

// Who runs it: it refuses to be run by root.
struct User {
  uid_t uid;
  gid_t gid;
};

User Runner() {
  if (::geteuid() != 0) return {::geteuid(), ::getegid()};
  const struct passwd* entry = ::getpwnam("postgres");
  if (entry == nullptr) entry = ::getpwnam("nobody");
  CHECK(entry != nullptr) << "there is no user who may run a server";
  return {entry->pw_uid, entry->pw_gid};
}

// Runs a program as that user, with its output in `log`.
pid_t Spawn(const std::vector<std::string>& words, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const User user = Runner();
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  PCHECK(child >= 0);
  if (child > 0) return child;
  const int output = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::setpgid(0, 0);
  if (::geteuid() == 0 &&
      (::setgroups(0, nullptr) != 0 || ::setgid(user.gid) != 0 || ::setuid(user.uid) != 0))
    ::_exit(126);
  // It ends with the test, whatever becomes of that.
  ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
  if (::getppid() != parent || ::chdir("/") != 0) ::_exit(126);
  ::execv(arguments[0], arguments.data());
  ::_exit(127);
}

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

}  // namespace

std::string PostgresServer::Programs() {
  std::error_code error;
  int newest = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", error)) {
    int version = 0;
    if (absl::SimpleAtoi(entry.path().filename().string(), &version) &&
        std::filesystem::exists(entry.path() / "bin/initdb"))
      newest = std::max(newest, version);
  }
  return newest == 0 ? "" : absl::StrCat("/usr/lib/postgresql/", newest, "/bin/");
}

PostgresServer* PostgresServer::Shared() {
  if (Programs().empty()) return nullptr;
  static PostgresServer server;
  if (!server.is_running()) server.Start();
  return &server;
}

PostgresServer::PostgresServer() : data_(folder_.path() + "/data") {
  const User user = Runner();
  PCHECK(::chmod(folder_.path().c_str(), 0711) == 0);
  PCHECK(::chown(folder_.path().c_str(), user.uid, user.gid) == 0);
  Initialize();
  Start();
  Execute("CREATE ROLE guarded LOGIN PASSWORD 'right'");
}

PostgresServer::~PostgresServer() { Stop(); }

void PostgresServer::Initialize() {
  const std::string log = folder_.path() + "/initdb.log";
  const pid_t child = Spawn({Programs() + "initdb", "-D", data_, "-U", "backup", "--auth=trust",
                             "--encoding=UTF8", "--locale=C", "--no-sync"},
                            log);
  int status = 0;
  PCHECK(::waitpid(child, &status, 0) == child);
  CHECK_EQ(status, 0) << Contents(log);
  std::ofstream(data_ + "/pg_hba.conf") << "local all guarded scram-sha-256\n"
                                           "local all all trust\n";
}

std::string PostgresServer::SocketFolder(const std::string& name) const {
  return folder_.path() + "/" + name;
}

bool PostgresServer::IsReady() const {
  return PQping(Conninfo("connect_timeout=5").c_str()) == PQPING_OK;
}

void PostgresServer::Start(const std::string& socket_folder) {
  socket_folder_ = SocketFolder(socket_folder);
  const User user = Runner();
  std::filesystem::create_directory(socket_folder_);
  PCHECK(::chown(socket_folder_.c_str(), user.uid, user.gid) == 0);
  const auto end = std::chrono::steady_clock::now() + kStartTimeout;
  const std::string log = folder_.path() + "/server.log";
  while (true) {
    process_ = Spawn({Programs() + "postgres", "-D", data_, "-k", socket_folder_, "-c",
                      "listen_addresses=", "-c", "max_connections=200"},
                     log);
    // After a crash the rest of the old one may take a moment to end, before which no other starts.
    while (::waitpid(process_, nullptr, WNOHANG) == 0) {
      if (IsReady()) return;
      CHECK(std::chrono::steady_clock::now() < end) << Contents(log);
      std::this_thread::sleep_for(kPollInterval);
    }
    process_ = 0;
    CHECK(std::chrono::steady_clock::now() < end) << Contents(log);
    std::this_thread::sleep_for(kPollInterval);
  }
}

void PostgresServer::Kill() {
  PCHECK(::kill(process_, SIGKILL) == 0);
  PCHECK(::waitpid(process_, nullptr, 0) == process_);
  process_ = 0;
}

void PostgresServer::Stop() {
  if (process_ == 0) return;
  PCHECK(::kill(process_, SIGINT) == 0);
  PCHECK(::waitpid(process_, nullptr, 0) == process_);
  process_ = 0;
}

std::string PostgresServer::Conninfo(const std::string& more) const {
  return absl::StrCat("host=", socket_folder_, " user=backup dbname=postgres ", more);
}

std::string PostgresServer::NewSchema() {
  const std::string name = absl::StrCat("catalog", next_schema_++);
  Execute(absl::StrCat("CREATE SCHEMA ", name));
  return Conninfo(absl::StrCat("options='-c search_path=", name, "'"));
}

void PostgresServer::Execute(const std::string& sql) const { Ask(sql); }

std::string PostgresServer::Ask(const std::string& sql) const {
  const Connection connection(PQconnectdb(Conninfo().c_str()), PQfinish);
  const Result result(PQexec(connection.get(), sql.c_str()), PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  CHECK(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
      << sql << ": " << PQerrorMessage(connection.get());
  return PQntuples(result.get()) == 0 ? "" : PQgetvalue(result.get(), 0, 0);
}

}  // namespace backup::storage::postgres
