#include "services/backupctl/key_options.h"

#include <string>

#include "CLI/CLI.hpp"

namespace backup::ctl {

void AddKeyOptions(CLI::App& command, KeySources& keys) {
  command
      .add_option("--master_key_file", keys.master_key_file,
                  "The master key; default: the one in --data_dir")
      ->type_name("FILE");
  command
      .add_option_function<std::string>(
          "--master_key_command",
          [&keys](const std::string& text) { keys.command = CommandWords(text); },
          "A program and arguments, split at spaces, that says\nthe master key, as the service's")
      ->type_name("COMMAND");
  command
      .add_option(
          "--old_master_key_file", keys.old_master_key_files,
          "Master keys that were replaced, with commas between;\nwhat is still sealed under "
          "them opens, too")
      ->type_name("FILES")
      ->delimiter(',');
  command
      .add_option("--key_generations_file", keys.generations_file,
                  "The keys that the master key wraps; default:\nkey.generations in --data_dir, or "
                  "else beside the key's file")
      ->type_name("FILE");
}

}  // namespace backup::ctl
