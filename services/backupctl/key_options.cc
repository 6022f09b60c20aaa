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

void AddStoreOptions(CLI::App& command, BlobsOptions& blobs) {
  command
      .add_option("--s3_endpoint", blobs.endpoint,
                  "The object store that has the blobs; default, as of\nthe others: as the service "
                  "had it")
      ->type_name("URL");
  command.add_option("--s3_region", blobs.region, "Its region")->type_name("REGION");
  command
      .add_option("--s3_addressing", blobs.addressing, "How its bucket is named, path or virtual")
      ->type_name("HOW");
  command
      .add_option("--s3_credentials_file", blobs.credentials_file,
                  "The access key, which needs to list and read only;\nelse from the environment, "
                  "or ~/.aws/credentials")
      ->type_name("FILE");
  command.add_option("--s3_ca_file", blobs.ca_file, "CA of its certificate, PEM")
      ->type_name("FILE");
}

}  // namespace backup::ctl
