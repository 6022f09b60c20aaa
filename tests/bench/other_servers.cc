#include "tests/bench/other_servers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "legacy_client/legacy_socket.h"
#include "tests/bench/child_process.h"
#include "tests/bench/endless_content.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

using legacy_client::LegacySocket;

constexpr char kLoopback[] = "127.0.0.1";
constexpr absl::Duration kStartTimeout = absl::Seconds(20);
constexpr absl::Duration kPollInterval = absl::Milliseconds(5);
constexpr absl::Duration kSocketTimeout = absl::Seconds(60);
constexpr size_t kMaxLineSize = 4096;

// A port that nobody listens on now.
absl::StatusOr<std::string> FreePort() {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd.get(), any, size) != 0 || ::getsockname(fd.get(), any, &size) != 0)
    return absl::ErrnoToStatus(errno, "find a free port");
  return absl::StrCat(::ntohs(address.sin_port));
}

absl::StatusOr<LegacySocket> Connect(const std::string& port) {
  return LegacySocket::Connect({kLoopback, port}, kSocketTimeout);
}

absl::Status WaitForListener(ChildProcess& process, const std::string& port) {
  for (absl::Duration waited; waited < kStartTimeout; waited += kPollInterval) {
    if (Connect(port).ok()) return absl::OkStatus();
    if (process.HasEnded()) break;
    absl::SleepFor(kPollInterval);
  }
  return absl::UnavailableError(absl::StrCat("nothing listens on ", port));
}

absl::StatusOr<std::string> ReadLine(LegacySocket& socket) {
  std::string line;
  while (line.size() < kMaxLineSize) {
    char next = 0;
    RETURN_IF_ERROR(socket.Read(std::span<char>(&next, 1)));
    if (next == '\n') return line;
    line.push_back(next);
  }
  return absl::InternalError("the server sends an endless line");
}

absl::Status SendContent(LegacySocket& socket, int64_t size) {
  EndlessContent content(EndlessContent::NewNumber());
  for (int64_t sent = 0; sent < size; sent += EndlessContent::kPieceSize)
    RETURN_IF_ERROR(socket.Write(content.Next()));
  return absl::OkStatus();
}

absl::Status SyncFile(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("sync ", path));
  return absl::OkStatus();
}

absl::Status RemoveFileOfSize(const std::string& path, int64_t size) {
  std::error_code error;
  const auto stored = static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error || stored != size) return absl::DataLossError(absl::StrCat("no whole file at ", path));
  std::filesystem::remove(path);
  return absl::OkStatus();
}

// A server that runs as a process, in `dir`, listening on `port`.
struct Daemon {
  ChildProcess process;
  std::string dir;
  std::string port;
};

// `config` is given the folder and the port, and yields what is written to a file `config` there;
// `args` is given that file's path.
template <typename Config, typename Args>
absl::StatusOr<Daemon> StartDaemon(const std::string& dir, const Config& config, const Args& args) {
  ASSIGN_OR_RETURN(const std::string port, FreePort());
  std::filesystem::create_directories(absl::StrCat(dir, "/files"));
  const std::string config_path = absl::StrCat(dir, "/config");
  std::ofstream(config_path) << config(port);
  ASSIGN_OR_RETURN(ChildProcess process,
                   ChildProcess::Start(args(config_path, port), absl::StrCat(dir, "/out"),
                                       absl::StrCat(dir, "/log")));
  RETURN_IF_ERROR(WaitForListener(process, port));
  return Daemon{std::move(process), dir, port};
}

class Nginx final : public OtherServer {
 public:
  static absl::StatusOr<std::unique_ptr<OtherServer>> Start(const std::string& program,
                                                            const std::string& dir) {
    const auto config = [&](const std::string& port) {
      std::string temp_paths;
      for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
        absl::StrAppend(&temp_paths, "  ", kind, "_temp_path ", dir, "/", kind, ";\n");
      return absl::StrCat("daemon off;\nmaster_process off;\npid ", dir,
                          "/pid;\nevents {}\nhttp {\n  access_log off;\n",
                          "  client_max_body_size 0;\n  client_body_buffer_size 1m;\n", temp_paths,
                          "  server {\n    listen ", kLoopback, ":", port,
                          ";\n    location / { root ", dir, "/files; dav_methods PUT; }\n  }\n}\n");
    };
    const auto args = [&](const std::string& path, const std::string&) {
      return std::vector<std::string>{program, "-e", "stderr", "-p", dir, "-c", path};
    };
    ASSIGN_OR_RETURN(Daemon daemon, StartDaemon(dir, config, args));
    return std::unique_ptr<OtherServer>(new Nginx(std::move(daemon)));
  }

  absl::StatusOr<double> Upload(int64_t size) override {
    const std::string path = absl::StrCat(daemon_.dir, "/files/file");
    const auto start = MonotonicClock::now();
    ASSIGN_OR_RETURN(LegacySocket socket, Connect(daemon_.port));
    RETURN_IF_ERROR(
        socket.Write(absl::StrCat("PUT /file HTTP/1.1\r\nHost: ", kLoopback,
                                  "\r\nConnection: close\r\nContent-Length: ", size, "\r\n\r\n"),
                     /*more_follows=*/true));
    RETURN_IF_ERROR(SendContent(socket, size));
    ASSIGN_OR_RETURN(const std::string answer, ReadLine(socket));
    if (!absl::StartsWith(answer, "HTTP/1.1 201")) return absl::InternalError(answer);
    RETURN_IF_ERROR(SyncFile(path));
    const double seconds = SecondsSince(start);
    RETURN_IF_ERROR(RemoveFileOfSize(path, size));
    return seconds;
  }

 private:
  explicit Nginx(Daemon daemon) : OtherServer("nginx, PUT"), daemon_(std::move(daemon)) {}

  const Daemon daemon_;
};

class Rsync final : public OtherServer {
 public:
  static absl::StatusOr<std::unique_ptr<OtherServer>> Start(const std::string& program,
                                                            const std::string& dir) {
    const auto config = [&](const std::string& port) {
      // Else root would become nobody.
      const std::string user = ::geteuid() == 0 ? std::string("uid = 0\ngid = 0\n") : std::string();
      return absl::StrCat("address = ", kLoopback, "\nport = ", port, "\nuse chroot = no\n", user,
                          "[files]\npath = ", dir, "/files\nread only = no\n");
    };
    const auto args = [&](const std::string& path, const std::string&) {
      return std::vector<std::string>{program, "--daemon", "--no-detach",
                                      absl::StrCat("--config=", path)};
    };
    ASSIGN_OR_RETURN(Daemon daemon, StartDaemon(dir, config, args));
    return std::unique_ptr<OtherServer>(new Rsync(std::move(daemon), program));
  }

  absl::StatusOr<double> Upload(int64_t size) override {
    const std::string source = absl::StrCat(daemon_.dir, "/source");
    MakeSource(source, size);
    RETURN_IF_ERROR(SyncFile(source));
    const auto start = MonotonicClock::now();
    ASSIGN_OR_RETURN(
        ChildProcess client,
        ChildProcess::Start({program_, "--whole-file", "--fsync", source,
                             absl::StrCat("rsync://", kLoopback, ":", daemon_.port, "/files/file")},
                            absl::StrCat(daemon_.dir, "/client.out"),
                            absl::StrCat(daemon_.dir, "/client.log")));
    double cpu_seconds = 0;
    const int exit_code = client.WaitForEnd(&cpu_seconds);
    const double seconds = SecondsSince(start);
    if (exit_code != 0) return absl::InternalError(absl::StrCat("rsync ended with ", exit_code));
    RETURN_IF_ERROR(RemoveFileOfSize(absl::StrCat(daemon_.dir, "/files/file"), size));
    return seconds;
  }

 private:
  Rsync(Daemon daemon, std::string program)
      : OtherServer("rsync daemon"), daemon_(std::move(daemon)), program_(std::move(program)) {}

  // Stays, and in memory.
  static void MakeSource(const std::string& path, int64_t size) {
    std::error_code error;
    if (static_cast<int64_t>(std::filesystem::file_size(path, error)) == size) return;
    std::ofstream file(path, std::ios::binary);
    EndlessContent content(EndlessContent::NewNumber());
    for (int64_t at = 0; at < size; at += EndlessContent::kPieceSize) file << content.Next();
  }

  const Daemon daemon_;
  const std::string program_;
};

class Vsftpd final : public OtherServer {
 public:
  static absl::StatusOr<std::unique_ptr<OtherServer>> Start(const std::string& program,
                                                            const std::string& dir) {
    const passwd* const user = ::getpwuid(::geteuid());
    if (user == nullptr) return absl::InternalError("who runs this has no name");
    const auto config = [&](const std::string& port) {
      return absl::StrCat(
          "listen=YES\nbackground=NO\nlisten_address=", kLoopback, "\nlisten_port=", port,
          "\nrun_as_launching_user=YES\nseccomp_sandbox=NO\nanonymous_enable=YES\n",
          "local_enable=NO\nno_anon_password=YES\nwrite_enable=YES\nanon_upload_enable=YES\n",
          "anon_root=", dir, "\nftp_username=", user->pw_name, "\nxferlog_enable=NO\n");
    };
    const auto args = [&](const std::string& path, const std::string&) {
      return std::vector<std::string>{program, path};
    };
    ASSIGN_OR_RETURN(Daemon daemon, StartDaemon(dir, config, args));
    return std::unique_ptr<OtherServer>(new Vsftpd(std::move(daemon)));
  }

  absl::StatusOr<double> Upload(int64_t size) override {
    const std::string path = absl::StrCat(daemon_.dir, "/files/file");
    const auto start = MonotonicClock::now();
    ASSIGN_OR_RETURN(LegacySocket control, Connect(daemon_.port));
    RETURN_IF_ERROR(Expect("220", control).status());
    RETURN_IF_ERROR(Ask("USER anonymous", "230", control).status());
    RETURN_IF_ERROR(Ask("TYPE I", "200", control).status());
    ASSIGN_OR_RETURN(const std::string passive, Ask("PASV", "227", control));
    {
      ASSIGN_OR_RETURN(const std::string port, PassivePort(passive));
      ASSIGN_OR_RETURN(LegacySocket data, Connect(port));
      RETURN_IF_ERROR(Ask("STOR files/file", "150", control).status());
      RETURN_IF_ERROR(SendContent(data, size));
    }
    RETURN_IF_ERROR(Expect("226", control).status());
    RETURN_IF_ERROR(SyncFile(path));
    const double seconds = SecondsSince(start);
    RETURN_IF_ERROR(RemoveFileOfSize(path, size));
    return seconds;
  }

 private:
  explicit Vsftpd(Daemon daemon) : OtherServer("vsftpd"), daemon_(std::move(daemon)) {}

  static absl::StatusOr<std::string> Expect(absl::string_view code, LegacySocket& control) {
    ASSIGN_OR_RETURN(const std::string answer, ReadLine(control));
    if (!absl::StartsWith(answer, code)) return absl::InternalError(answer);
    return answer;
  }
  static absl::StatusOr<std::string> Ask(absl::string_view command, absl::string_view code,
                                         LegacySocket& control) {
    RETURN_IF_ERROR(control.Write(absl::StrCat(command, "\r\n")));
    return Expect(code, control);
  }
  // The last two of the six numbers in parentheses.
  static absl::StatusOr<std::string> PassivePort(absl::string_view answer) {
    const std::vector<absl::string_view> fields = absl::StrSplit(answer, absl::ByAnyChar("(,)"));
    int high = 0;
    int low = 0;
    if (fields.size() < 7 || !absl::SimpleAtoi(fields[5], &high) ||
        !absl::SimpleAtoi(fields[6], &low)) {
      return absl::InternalError(answer);
    }
    return absl::StrCat(256 * high + low);
  }

  const Daemon daemon_;
};

struct Kind {
  const char* name;
  const char* program;
  absl::StatusOr<std::unique_ptr<OtherServer>> (*start)(const std::string& program,
                                                        const std::string& dir);
};
constexpr Kind kKinds[] = {{"nginx", "/usr/sbin/nginx", &Nginx::Start},
                           {"rsync", "/usr/bin/rsync", &Rsync::Start},
                           {"vsftpd", "/usr/sbin/vsftpd", &Vsftpd::Start}};

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<OtherServer>>> StartOtherServers(
    const std::string& root, const std::string& dir) {
  std::vector<std::unique_ptr<OtherServer>> servers;
  for (const Kind& kind : kKinds) {
    std::string program = absl::StrCat(root, kind.program);
    if (::access(program.c_str(), X_OK) != 0) program = kind.program;
    if (::access(program.c_str(), X_OK) != 0) {
      std::cerr << "backup-bench: " << kind.name << " is not installed, so it is not compared\n";
      continue;
    }
    ASSIGN_OR_RETURN(std::unique_ptr<OtherServer> server,
                     kind.start(program, absl::StrCat(dir, "/", kind.name)));
    servers.push_back(std::move(server));
  }
  return servers;
}

}  // namespace backup::bench
