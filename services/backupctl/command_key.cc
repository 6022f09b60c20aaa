#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "services/backupctl/commands.h"

namespace backup::ctl {
namespace {

constexpr absl::Duration kListTimeout = absl::Minutes(1);
// A snapshot goes slowly on purpose.
constexpr absl::Duration kSnapshotTimeout = absl::Hours(6);

std::string StateOf(const v1::KeyGeneration& generation) {
  if (generation.is_retiring()) return "retiring";
  return generation.is_newest() ? "seals" : "opens";
}

std::string NameOf(v1::KeyRetirement::Phase phase) {
  switch (phase) {
    case v1::KeyRetirement::SECRET:
      return "the store's secret";
    case v1::KeyRetirement::USES:
    case v1::KeyRetirement::LAST_USES:
      return "waiting for calls that are under way";
    case v1::KeyRetirement::CLIENTS:
      return "session keys";
    case v1::KeyRetirement::TRASHED_CLIENTS:
      return "session keys of clients in the trash";
    case v1::KeyRetirement::VERSIONS:
      return "versions outside packs";
    case v1::KeyRetirement::PACKS:
      return "packs";
    case v1::KeyRetirement::UNKNOWN_BLOBS:
      return "blobs that the catalog does not know";
    case v1::KeyRetirement::REMOVAL:
      return "removing them";
    default:
      return "something else";
  }
}

void Show(const v1::KeyRetirement& retirement, Output& output) {
  output.Note(absl::StrCat(
      "retiring: ", NameOf(retirement.phase()), "; ", retirement.resealed_count(),
      " keys and packs sealed anew",
      retirement.has_next_round_time()
          ? absl::StrCat("; the next round begins ", TimeText(retirement.next_round_time()))
          : ""));
  if (retirement.left_count() > 0) {
    output.Note(absl::StrCat(retirement.left_count(), " things cannot be sealed anew, the first: ",
                             Printable(retirement.first_left())));
  }
}

absl::StatusOr<ExitCode> ListKeys(Connection& connection, Output& output) {
  ASSIGN_OR_RETURN(
      const v1::ListKeysResponse keys,
      connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::ListKeys,
                           v1::ListKeysRequest(), kListTimeout));
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
  if (keys.has_retirement()) Show(keys.retirement(), output);
  if (keys.retirement_is_unreadable()) {
    output.Note(
        "which generations are to go cannot be read in the catalog, and the job `retire` does "
        "nothing: `backupctl key retire` them again");
  }
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

absl::StatusOr<ExitCode> RetireKey(Connection& connection, Output& output,
                                   const v1::RetireKeyRequest& request) {
  ASSIGN_OR_RETURN(const v1::RetireKeyResponse retiring,
                   connection.CallUnary(connection.admin(),
                                        &v1::AdminService::StubInterface::RetireKey, request));
  if (output.json()) {
    output.Json(retiring);
  } else {
    output.Note(absl::StrCat(
        "what generation ", request.generation(),
        request.cancel() ? " has sealed stays as it is"
                         : " has sealed is being sealed anew; `backupctl key list` shows how far "
                           "that is"));
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
  CLI::App& retire = *key.add_subcommand(
      "retire", "Seal anew, in the background, what a generation has sealed, and let it go");
  const auto retiring = std::make_shared<v1::RetireKeyRequest>();
  retire
      .add_option_function<uint32_t>(
          "GENERATION", [retiring](uint32_t number) { retiring->set_generation(number); },
          "Its number, as \"key list\" shows it")
      ->type_name("")
      ->required();
  retire.add_flag_callback(
      "--cancel", [retiring] { retiring->set_cancel(true); },
      "It is to stay; what was sealed anew stays so");
  retire.callback([&chosen, retiring] {
    chosen = [retiring](Connection& connection, Output& output) {
      return RetireKey(connection, output, *retiring);
    };
  });
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
