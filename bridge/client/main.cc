// legacy-client: flags to options, then every file of transfer.info to the server.

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "bridge/client/conversation.h"
#include "bridge/client/report.h"
#include "bridge/client/transfer_info.h"
#include "gflags/gflags.h"
#include "glog/logging.h"

DECLARE_bool(help);
DECLARE_bool(helpfull);
DECLARE_bool(helpshort);

// Exported by gflags, but in no header of it.
namespace google {
extern void (*gflags_exitfunc)(int);
}

DEFINE_string(dir, ".",
              "folder of transfer.info, me.info and priv.key; file names are relative to it");
DEFINE_string(checksum, "crc32-ciphertext",
              "what the server must answer with: crc32-ciphertext (header version 1) or "
              "cksum-plaintext (header version 3)");
DEFINE_string(connection, "auto",
              "per-request: a new connection for each request; single: one for all; auto: single "
              "with --checksum=cksum-plaintext, else per-request");
DEFINE_string(timeout, "30s", "how long to wait for the server to move a byte");
DEFINE_bool(json, false, "print one JSON object a file");
DEFINE_bool(quiet, false, "print errors only");

namespace backup::legacy_client {
namespace {

// Exit codes: docs/operations.md.
constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kPartial = 3;
constexpr int kUnreachable = 15;

constexpr char kCrc32OfCiphertextText[] = "crc32-ciphertext";
constexpr char kCksumOfPlaintextText[] = "cksum-plaintext";

bool ValidateChecksum(const char*, const std::string& value) {
  if (value == kCrc32OfCiphertextText || value == kCksumOfPlaintextText) return true;
  std::cerr << "--checksum must be crc32-ciphertext or cksum-plaintext\n";
  return false;
}
bool ValidateConnection(const char*, const std::string& value) {
  if (value == "auto" || value == "per-request" || value == "single") return true;
  std::cerr << "--connection must be per-request, single or auto\n";
  return false;
}
bool ValidateTimeout(const char*, const std::string& value) {
  absl::Duration timeout;
  if (absl::ParseDuration(value, &timeout) && timeout > absl::ZeroDuration()) return true;
  std::cerr << "--timeout must be a duration like 30s or 5m\n";
  return false;
}
DEFINE_validator(checksum, &ValidateChecksum);
DEFINE_validator(connection, &ValidateConnection);
DEFINE_validator(timeout, &ValidateTimeout);

ConversationOptions OptionsFromFlags(const TransferInfo& info) {
  ConversationOptions options;
  options.client_name = info.client_name;
  options.dir = FLAGS_dir;
  options.checksum_kind = FLAGS_checksum == kCrc32OfCiphertextText
                              ? ChecksumKind::kCrc32OfCiphertext
                              : ChecksumKind::kCksumOfPlaintext;
  options.channel.server = info.server;
  const bool single = FLAGS_connection == "auto" ? FLAGS_checksum == kCksumOfPlaintextText
                                                 : FLAGS_connection == "single";
  options.channel.connection_use = single ? ConnectionUse::kSingle : ConnectionUse::kPerRequest;
  CHECK(absl::ParseDuration(FLAGS_timeout, &options.channel.timeout));  // The validator saw to it.
  return options;
}

int Refuse(int exit_code, const absl::Status& status) {
  std::cerr << "legacy-client: " << status.message() << "\n";
  return exit_code;
}

// A server that is gone or silent will not take the files that are left either.
bool IsHopeless(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

int SendFiles(const TransferInfo& info) {
  Report report({FLAGS_json, FLAGS_quiet});
  ConversationOptions options = OptionsFromFlags(info);
  options.on_progress = [&report](int64_t sent, int64_t total) { report.Progress(sent, total); };
  Conversation conversation(std::move(options));
  const absl::Status started = conversation.Start();
  if (!started.ok()) {
    return Refuse(absl::IsUnavailable(started) ? kUnreachable : kFailed, started);
  }
  absl::Status hopeless;
  for (const std::string& name : info.files) {
    report.Begin(name);
    const absl::StatusOr<SentFile> sent =
        hopeless.ok() ? conversation.SendFile(name, std::filesystem::path(FLAGS_dir) / name)
                      : absl::StatusOr<SentFile>(hopeless);
    if (IsHopeless(sent.status())) hopeless = sent.status();
    report.End(sent);
  }
  report.Summarize();
  if (report.failed() == 0) return kOk;
  if (report.ok() > 0) return kPartial;
  return absl::IsUnavailable(hopeless) ? kUnreachable : kFailed;
}

// gflags ends the process with 1 for a wrong flag as for --help; with 0 for --version.
void EndForFlags(int code) {
  const bool asked_for_help = FLAGS_help || FLAGS_helpfull || FLAGS_helpshort;
  std::exit(code == 0 || asked_for_help ? kOk : kUsage);
}

int Main(int argc, char** argv) {
  google::gflags_exitfunc = &EndForFlags;
  gflags::SetUsageMessage(
      "legacy-client [--dir=DIR] ...\nSends the files that DIR/transfer.info "
      "names to the server that it names.");
  gflags::SetVersionString(BACKUP_VERSION);
  FLAGS_logtostderr = true;
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  google::InitGoogleLogging(argv[0]);
  if (argc > 1) {
    return Refuse(kUsage, absl::InvalidArgumentError(
                              absl::StrCat("what is ", argv[1], "? flags begin with --")));
  }
  const absl::StatusOr<TransferInfo> info =
      ReadTransferInfo(absl::StrCat(FLAGS_dir, "/transfer.info"));
  if (!info.ok()) return Refuse(kUsage, info.status());
  return SendFiles(*info);
}

}  // namespace
}  // namespace backup::legacy_client

int main(int argc, char** argv) { return backup::legacy_client::Main(argc, argv); }
