#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "services/backupctl/connection.h"
#include "services/backupctl/exit_code.h"
#include "services/backupctl/output.h"

namespace CLI {
class App;
}

namespace backup::ctl {

// What the command line asks for: runs it, and says how the process ends.
using Command = std::function<absl::StatusOr<ExitCode>(Connection&, Output&)>;

// Each adds its commands to `app`; parsing one of them sets `chosen`, which must outlive `app`.
void AddClientCommands(CLI::App& app, Command& chosen);
void AddFileCommands(CLI::App& app, Command& chosen);
void AddTrashCommands(CLI::App& app, Command& chosen);
void AddRestoreCommand(CLI::App& app, Command& chosen);
void AddPolicyCommands(CLI::App& app, Command& chosen);
void AddImportCommand(CLI::App& app, Command& chosen);
void AddDecryptCommand(CLI::App& app, Command& chosen);
void AddServiceCommands(CLI::App& app, Command& chosen);
void AddScrubCommands(CLI::App& app, Command& chosen);
void AddStateCommands(CLI::App& app, Command& chosen);
void AddMigrateCommand(CLI::App& app, Command& chosen);
void AddKeyCommands(CLI::App& app, Command& chosen);
void AddAuditCommands(CLI::App& app, Command& chosen);
void AddBanCommands(CLI::App& app, Command& chosen);
void AddTraceCommand(CLI::App& app, Command& chosen);
// To the groups of the first two.
void AddClientQuotaCommands(CLI::App& clients, Command& chosen);
void AddClientTrashCommands(CLI::App& group, Command& chosen);
void AddFileTrashCommands(CLI::App& group, Command& chosen);
// After all others: it prints what was added until then.
void AddCompletionCommand(CLI::App& app, Command& chosen);

}  // namespace backup::ctl
