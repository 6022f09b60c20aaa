#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"

namespace backup::ctl {
namespace {

// A snapshot goes slowly on purpose.
constexpr absl::Duration kSnapshotTimeout = absl::Hours(6);

std::string StateOf(const v1::KeyGeneration& generation) {
  return generation.is_newest() ? "seals" : "opens";
}

absl::StatusOr<ExitCode> ListKeys(Connection& connection, Output& output) {
  ASSIGN_OR_RETURN(
      const v1::ListKeysResponse keys,
      connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::ListKeys,
                           v1::ListKeysRequest()));
  if (output.json()) {
    output.Json(keys);
    return ExitCode::kOk;
  }
  Table table({{"GENERATION", Table::Align::kRight},
               {"STATE"},
               {"MADE"},
               {"MASTER KEY"},
               {"SESSION KEYS", Table::Align::kRight},
               {"PACKS", Table::Align::kRight}});
  bool all_are_rewrapped = true;
  for (const v1::KeyGeneration& generation : keys.generations()) {
    all_are_rewrapped = all_are_rewrapped && generation.is_rewrapped();
    table.AddRow(
        {absl::StrCat(generation.number()), StateOf(generation), TimeText(generation.create_time()),
         absl::StrCat(generation.master_key_fingerprint(),
                      generation.is_rewrapped() ? "" : " (old)"),
         absl::StrCat(generation.session_key_count()), absl::StrCat(generation.pack_count())});
  }
  output.Print(table);
  if (!all_are_rewrapped) {
    output.Note(absl::StrCat("the master key is ", keys.master_key_fingerprint(),
                             "; the old one is needed until `backupctl key rewrap --verify` has "
                             "ended well"));
  }
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> RotateKey(Connection& connection, Output& output) {
  ASSIGN_OR_RETURN(
      const v1::RotateKeyResponse rotated,
      connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::RotateKey,
                           v1::RotateKeyRequest(), kSnapshotTimeout));
  if (output.json()) {
    output.Json(rotated);
  } else {
    output.Note(absl::StrCat("generation ", rotated.newest_generation(),
                             " seals from now on: copy key.generations to where the master key's "
                             "copy is"));
  }
  return ExitCode::kOk;
}

std::string NameOf(v1::KeySamples::Kind kind) {
  switch (kind) {
    case v1::KeySamples::STORE_SECRET:
      return "store's secret";
    case v1::KeySamples::SESSION_KEY:
      return "session keys";
    case v1::KeySamples::PACK_KEY:
      return "keys of packs";
    case v1::KeySamples::VERSION:
      return "versions outside packs";
    default:
      return "others";
  }
}

void Show(const v1::RewrapKeysResponse& rewrapped, Output& output) {
  output.Note(absl::StrCat("all generations are under the master key ",
                           rewrapped.master_key_fingerprint(), ", ", rewrapped.rewrapped_count(),
                           " were not before; generation ", rewrapped.newest_generation(),
                           " seals"));
  for (const std::string& path : rewrapped.snapshot_paths())
    output.Note(absl::StrCat("a snapshot that it opens is ", Printable(path)));
  for (const v1::KeySamples& samples : rewrapped.samples()) {
    output.Note(absl::StrCat(
        NameOf(samples.kind()), ": ", samples.opened_count(), " opened, ", samples.failed_count(),
        " not", samples.first_error().empty() ? "" : ": ", samples.first_error(),
        samples.skipped_count() == 0 ? ""
                                     : absl::StrCat("; ", samples.skipped_count(),
                                                    " left out, which are damaged or missing")));
  }
}

absl::StatusOr<ExitCode> RewrapKeys(Connection& connection, Output& output,
                                    const v1::RewrapKeysRequest& request) {
  ASSIGN_OR_RETURN(
      const v1::RewrapKeysResponse rewrapped,
      connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::RewrapKeys,
                           request, kSnapshotTimeout));
  if (output.json()) {
    output.Json(rewrapped);
  } else {
    Show(rewrapped, output);
  }
  for (const v1::KeySamples& samples : rewrapped.samples()) {
    if (samples.failed_count() > 0) return ExitCode::kDamaged;
  }
  return ExitCode::kOk;
}

}  // namespace

void AddKeyCommands(CLI::App& app, Command& chosen) {
  CLI::App& key = *app.add_subcommand("key", "The keys that seal what is kept");
  key.require_subcommand(1);
  key.add_subcommand("list", "The generations of keys, and what each has sealed")
      ->callback([&chosen] { chosen = ListKeys; });
  key.add_subcommand("rotate", "Make a generation that seals what comes from now on")
      ->callback([&chosen] { chosen = RotateKey; });
  CLI::App& rewrap = *key.add_subcommand(
      "rewrap",
      "Wrap all generations under the master key that the service was started with, and take a "
      "snapshot of the state");
  const auto verify = std::make_shared<bool>(false);
  rewrap.add_flag(
      "--verify", *verify,
      "Read them back, open them with that key alone, and\nwith them samples of all that is sealed "
      "(exit code 14:\nsome do not open)");
  rewrap.callback([&chosen, verify] {
    chosen = [verify](Connection& connection, Output& output) {
      v1::RewrapKeysRequest request;
      request.set_verify(*verify);
      return RewrapKeys(connection, output, request);
    };
  });
}

}  // namespace backup::ctl
