#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup {

// A flag's value in effect, and what set it: "flag", "environment NAME", "file PATH:LINE" or
// "default".
struct Setting {
  std::string flag;
  std::string value;
  std::string source;
};

// A program as its --help shows it.
struct ProgramText {
  std::string usage;
  // __FILE__ of the file that defines the program's flags: --help shows these and no library's.
  std::string main_file;
  // Variables that begin with BACKUP_ but are another program's.
  std::vector<std::string> foreign_variables = {};
};

// Sets every flag from the command line, else from BACKUP_<FLAG> in `environment` (NAME=VALUE
// each), else from a file of --flagfile, else leaves its default. Takes the flags out of argv.
// Returns the settings of the program's own flags and of whatever is not at its default, by name.
//
// InvalidArgument, one line, for a wrong file, for a wrong or unknown variable, and, as
// UsageError(), for a wrong command line. --help and --version end the process with 0.
absl::StatusOr<std::vector<Setting>> LoadConfiguration(const ProgramText& program, int& argc,
                                                       char**& argv,
                                                       const std::vector<std::string>& environment);

// For validators of flags: what a value must be, for the line that refuses another one. Always
// false.
bool MustBe(absl::string_view what);

// For a wrong command line: InvalidArgument with the exit code kExitUsage, with --check_config
// kExitBadConfiguration.
absl::Status UsageError(absl::string_view why);
// That for an argument that is no flag, for programs that take none.
absl::Status UnknownArgument(absl::string_view argument);

// One line a setting; what may be a secret is not shown.
std::string ConfigurationText(const std::vector<Setting>& settings);

// Whether --print_config, or --check_config was given.
bool PrintConfigurationOnly();
bool CheckConfigurationOnly();

}  // namespace backup
