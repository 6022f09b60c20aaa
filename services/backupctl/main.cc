// backupctl: the operator's command line.

#include <algorithm>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/exit_code.h"
#include "base/inherited_state.h"
#include "base/process.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "rpc/connection_diagnosis.h"
#include "rpc/grpc_log.h"
#include "rpc/target.h"
#include "rpc/tls.h"
#include "services/backupctl/commands.h"
#include "services/backupctl/connection.h"
#include "services/backupctl/exit_code.h"
#include "services/backupctl/interrupt.h"
#include "services/backupctl/output.h"
#include "services/backupctl/progress_bar.h"

namespace backup::ctl {
namespace {

constexpr char kFooter[] = R"(
CLIENT is a client's name or id. Names are shown and given as text: control characters and bytes that are
not UTF-8 are %XX, and % itself is %25.

Exit codes: 0 done, 1 failed, 2 usage, 3 some files failed or are under another name, 10 no such object or a bad
configuration, 11 another process holds the data directory, 12 the service denies it to this certificate, 13 the data
directory is of a newer schema, 14 damaged data found, 15 the service cannot be reached, 130 interrupted, 141 whoever
read the output went away.)";

struct GlobalOptions {
  std::string service = "127.0.0.1:50051";
  std::string timeout = "5s";
  rpc::TlsFiles tls;
  std::string tls_server_name;
  bool insecure_grpc = false;
  bool json = false;
  bool quiet = false;
  bool wide = false;
};

// Of each step of finding out why there is no connection.
constexpr absl::Duration kDiagnosisTimeout = absl::Seconds(2);

std::string CheckDuration(const std::string& text) {
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration()) return "";
  return "must be a duration such as 5s, 500ms or 1m";
}

void AddGlobalOptions(CLI::App& app, GlobalOptions& options) {
  app.add_option("--service", options.service,
                 "The service: HOST:PORT, unix:PATH or any gRPC target")
      ->envname("BACKUP_SERVICE")
      ->type_name("TARGET")
      ->capture_default_str();
  app.add_option("--timeout", options.timeout, "How long to wait for an answer; transfers get more")
      ->type_name("DURATION")
      ->check(CLI::Validator(CheckDuration, ""))
      ->capture_default_str();
  app.add_option("--tls-ca", options.tls.ca_file, "CA of the service's certificate: turns TLS on")
      ->type_name("FILE");
  app.add_option("--tls-cert", options.tls.cert_file, "Certificate of the caller")
      ->type_name("FILE");
  app.add_option("--tls-key", options.tls.key_file, "Private key of that")->type_name("FILE");
  app.add_option("--tls-server-name", options.tls_server_name,
                 "Name in the service's certificate;\ndefault: the one in --service")
      ->type_name("NAME");
  app.add_flag("--insecure-grpc", options.insecure_grpc,
               "Allow a service on another machine without TLS");
  app.add_flag("--json", options.json, "One JSON object a line on standard output");
  app.add_flag("--wide", options.wide, "Whole tables, also where they are wider than the terminal");
  app.add_flag("--quiet,-q", options.quiet, "No notes and no progress, only results and errors");
}

Output::Options OutputOptions(const GlobalOptions& options) {
  Output::Options output;
  output.json = options.json;
  output.quiet = options.quiet;
  if (!options.wide) output.width = TerminalWidth();
  output.progress = DetectProgressStyle();
  output.progress.visible &= !options.quiet;
  return output;
}

absl::Status CheckTransport(const GlobalOptions& options, const std::string& target) {
  RETURN_IF_ERROR(rpc::CheckTlsFiles(options.tls));
  if (!options.tls.cert_file.empty() && options.tls.ca_file.empty()) {
    return absl::InvalidArgumentError("--tls-cert needs --tls-ca: without it nothing is encrypted");
  }
  if (!options.tls.ca_file.empty() || options.insecure_grpc || rpc::IsLocalTarget(target))
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(options.service, " is another machine: give --tls-ca, or --insecure-grpc"));
}

// Whether what was chosen needs no service, and so no address of one.
bool IsLocal(const CLI::App& app) {
  const bool is_state = app.got_subcommand("state");
  return app.got_subcommand("completion") || app.got_subcommand("decrypt") ||
         app.got_subcommand("version") || app.got_subcommand("migrate") ||
         (is_state && !app.get_subcommand("state")->got_subcommand("backup"));
}

ExitCode Run(const Command& command, const GlobalOptions& options, bool is_local,
             Interrupt& interrupt) {
  absl::Duration timeout;
  absl::ParseDuration(options.timeout, &timeout);  // Checked when it was parsed.
  Output output(std::cout, std::cerr, OutputOptions(options));
  const absl::StatusOr<std::string> target = rpc::ServiceTarget(options.service);
  const absl::Status checked = target.ok() ? CheckTransport(options, *target) : target.status();
  if (!checked.ok() && !is_local) {
    output.Problem(ErrorLine(checked));
    return ExitCodeOf(checked);
  }
  Connection connection(
      MakeChannel(target.value_or(""), rpc::MakeChannelCredentials(options.tls),
                  options.tls_server_name),
      options.service, timeout, interrupt, [&] {
        return rpc::DiagnoseConnection(
            {target.value_or(""),
             options.tls,
             options.tls_server_name,
             {"--service", "--tls-ca", "--tls-cert and --tls-key", "--tls-server-name"}},
            std::min(timeout, kDiagnosisTimeout));
      });
  const absl::StatusOr<ExitCode> done = command(connection, output);
  if (!done.ok()) {
    output.Problem(ErrorLine(done.status()));
    return ExitCodeOf(done.status());
  }
  if (const absl::Status written = output.Check(); !written.ok()) {
    output.Problem(ErrorLine(written));
    return ExitCode::kFailed;
  }
  return *done;
}

// Prints the help that was asked for, or in one line why the command line is refused.
ExitCode Refuse(const CLI::App& app, const CLI::ParseError& error) {
  Output output(std::cout, std::cerr, {});
  if (error.get_exit_code() == 0) {
    std::ostringstream help;
    app.exit(error, help, help);
    output.Text(help.str());
    const absl::Status written = output.Check();
    if (written.ok()) return ExitCode::kOk;
    output.Problem(ErrorLine(written));
    return ExitCode::kFailed;
  }
  std::string why = error.what();
  const std::vector<std::string> unknown = app.remaining();
  if (!unknown.empty()) why = absl::StrCat("there is no command or option ", unknown.front());
  output.Problem(absl::StrCat(why, "; see --help"));
  return ExitCode::kUsage;
}

// The first option that is given as "--NAME=" with nothing behind it, for which the parser would
// take the next word; empty if there is none.
absl::string_view EmptyOption(int argc, char** argv) {
  for (const absl::string_view word : absl::MakeSpan(argv + 1, argv + argc)) {
    if (word == "--") break;
    if (absl::StartsWith(word, "--") && word.find('=') == word.size() - 1) return word;
  }
  return "";
}

int Main(int argc, char** argv) {
  TakeOverInheritedState();
  if (const absl::Status checked = CheckLimits(kCommandLimits); !checked.ok()) {
    std::cerr << "backupctl: " << checked.message() << std::endl;
    return kExitBadConfiguration;
  }
  TuneLibraries();
  rpc::DropGrpcLog();
  Interrupt interrupt;  // Before any other thread starts.
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_ERROR;  // What libraries have to say is for the service's log.

  CLI::App app("Looks after a backup service: lists, fetches, restores and checks what it keeps.",
               "backupctl");
  app.get_formatter()->column_width(34);
  app.require_subcommand(1);
  app.fallthrough();  // Global options may stand behind the command too.
  GlobalOptions options;
  AddGlobalOptions(app, options);
  Command command;
  AddClientCommands(app, command);
  AddFileCommands(app, command);
  AddTrashCommands(app, command);
  AddRestoreCommand(app, command);
  AddPolicyCommands(app, command);
  AddImportCommand(app, command);
  AddServiceCommands(app, command);
  AddScrubCommands(app, command);
  AddKeyCommands(app, command);
  AddAuditCommands(app, command);
  AddBanCommands(app, command);
  AddTraceCommand(app, command);
  AddDecryptCommand(app, command);
  AddStateCommands(app, command);
  AddMigrateCommand(app, command);
  AddCompletionCommand(app, command);
  app.footer(kFooter);  // Last, as commands would take it over.
  if (const absl::string_view option = EmptyOption(argc, argv); !option.empty()) {
    Output(std::cout, std::cerr, {})
        .Problem(absl::StrCat(option, " is empty: give it a value, or leave it out; see --help"));
    return static_cast<int>(ExitCode::kUsage);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return static_cast<int>(Refuse(app, error));
  }
  return static_cast<int>(Run(command, options, IsLocal(app), interrupt));
}

}  // namespace
}  // namespace backup::ctl

int main(int argc, char** argv) { return backup::ctl::Main(argc, argv); }
