// legacy-client: flags to options, then every file of transfer.info to the server.

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/flag_help.h"
#include "base/inherited_state.h"
#include "base/printable.h"
#include "base/status_macros.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "legacy_client/client_style.h"
#include "legacy_client/conversation.h"
#include "legacy_client/dialect_file.h"
#include "legacy_client/report.h"
#include "legacy_client/transfer_info.h"

DECLARE_bool(help);
DECLARE_bool(helpfull);
DECLARE_bool(helpshort);

// Exported by gflags, but in no header of it.
namespace google {
extern void (*gflags_exitfunc)(int);
}

DEFINE_string(dir, ".",
              "folder of transfer.info, me.info and priv.key; file names are relative to it");
DEFINE_string(family, "C", "which clients to speak as: A, B, C, D or E (docs/wire-protocol.md)");
DEFINE_string(dialect, "",
              "instead of --family: a built-in dialect, for example b3 (backup-bridge "
              "--print_dialect=b3 shows it), or a label of one, such as A");
DEFINE_string(dialect_file, "",
              "instead of --family: the dialect that this file describes (docs/dialects.md). Flags "
              "choose what it leaves open");
DEFINE_string(header_version, "auto",
              "the version in every header, a number; auto: as the dialect says, for family C 1 "
              "with --checksum=crc32-ciphertext, else 3");
DEFINE_string(checksum, "auto",
              "what the server's checksum is compared with: cksum-plaintext, cksum-ciphertext, "
              "crc32-plaintext or crc32-ciphertext; auto: what the server answers such a client "
              "first, for family C crc32-ciphertext");
DEFINE_string(
    file_style, "auto",
    "counted, uncounted, truncated (payload size cut at its first zero byte), chunks "
    "(packets, each encrypted on its own), stream (packets, slices of one ciphertext) or "
    "blocks (one request header and then bare blocks, each encrypted on its own; family B "
    "with --blocks_1024); auto: as the dialect says, chunks for families D and E, counted "
    "for the others");
DEFINE_string(content_size, "auto",
              "what the content size field says: ciphertext or plaintext; auto: as the dialect "
              "says, else ciphertext");
DEFINE_string(original_size, "file", "what a packet's original size field says: file or packet");
DEFINE_int64(packet_size, 0,
             "bytes in a packet: plaintext with chunks, content with stream; 0: 65536");
DEFINE_bool(swap_packet_fields, false, "the total before the packet's number");
DEFINE_bool(extra_packet, false, "one packet more, with a number above the total");
DEFINE_bool(pad_packets, false, "zero bytes after a short packet, up to the size of a full one");
DEFINE_bool(
    blocks_1024, false,
    "families A and B: every message, and every answer, padded to a multiple of 1024 bytes; other "
    "dialects with clients that pad: as they say");
DEFINE_bool(id_in_payload, false,
            "the client's id in front of payloads where the dialect lets it be missing; family A "
            "always has it");
DEFINE_bool(short_fields, false,
            "fields that the dialect lets be shorter have what they hold, and no more");
DEFINE_string(public_key, "auto",
              "form of the public key: spki, spki-padded (158 bytes, without the NULL, and 2 zero "
              "bytes) or pkcs1 (and zero bytes); auto: as the dialect says, for families spki");
DEFINE_string(connection, "auto",
              "per-request: a new connection for each request; single: one for all; auto: "
              "per-request for family C with header version 1, where the server hangs up "
              "(--blocks_1024 with version 3) and where the dialect says so, else single");
DEFINE_string(
    retry_notice, "auto",
    "wait for an answer to a retry notice, or send the file at-once, with a connection for "
    "each request on another one; auto: as the dialect says, else at-once on a single "
    "connection and wait otherwise");
DEFINE_int32(tries, backup::legacy_client::kDefaultTriesOfFile,
             "how often a file is sent, at most, when the server's checksum is wrong: 1 to 5");
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

constexpr char kUsageMessage[] =
    "legacy-client [--dir=DIR] ...\nSends the files that DIR/transfer.info names to the server "
    "that it names.";
constexpr char kAuto[] = "auto";
constexpr int kMaxTries = 5;
constexpr int64_t kMaxPacketSize = int64_t{1} << 30;

// What a flag may say, and what that means.
template <typename Value>
using Choice = std::pair<absl::string_view, Value>;

constexpr Choice<std::optional<ChecksumKind>> kChecksums[] = {
    {"cksum-plaintext", ChecksumKind::kCksumOfPlaintext},
    {"cksum-ciphertext", ChecksumKind::kCksumOfCiphertext},
    {"crc32-plaintext", ChecksumKind::kCrc32OfPlaintext},
    {"crc32-ciphertext", ChecksumKind::kCrc32OfCiphertext},
    {kAuto, std::nullopt}};
constexpr Choice<std::optional<FileStyle>> kFileStyles[] = {{"counted", FileStyle::kCounted},
                                                            {"uncounted", FileStyle::kUncounted},
                                                            {"truncated", FileStyle::kTruncated},
                                                            {"chunks", FileStyle::kChunks},
                                                            {"stream", FileStyle::kStream},
                                                            {"blocks", FileStyle::kBlocks},
                                                            {kAuto, std::nullopt}};
constexpr Choice<std::optional<ContentSize>> kContentSizes[] = {
    {"ciphertext", ContentSize::kCiphertext},
    {"plaintext", ContentSize::kPlaintext},
    {kAuto, std::nullopt}};
constexpr Choice<OriginalSize> kOriginalSizes[] = {{"file", OriginalSize::kFile},
                                                   {"packet", OriginalSize::kPacket}};
constexpr Choice<std::optional<PublicKeyForm>> kPublicKeyForms[] = {
    {"spki", PublicKeyForm::kSpki},
    {"spki-padded", PublicKeyForm::kSpkiPadded},
    {"pkcs1", PublicKeyForm::kPkcs1},
    {kAuto, std::nullopt}};
constexpr Choice<std::optional<ConnectionUse>> kConnections[] = {
    {"per-request", ConnectionUse::kPerRequest},
    {"single", ConnectionUse::kSingle},
    {kAuto, std::nullopt}};
constexpr Choice<std::optional<RetryNotice>> kRetryNotices[] = {
    {"wait", RetryNotice::kWait}, {"at-once", RetryNotice::kAtOnce}, {kAuto, std::nullopt}};

template <const auto& kChoices>
bool ValidateChoice(const char* flag, const std::string& value) {
  const auto says_it = [&](const auto& choice) { return choice.first == value; };
  if (std::any_of(std::begin(kChoices), std::end(kChoices), says_it)) return true;
  std::vector<absl::string_view> names;
  for (const auto& choice : kChoices) names.push_back(choice.first);
  std::cerr << "--" << flag << " must be one of " << absl::StrJoin(names, ", ") << "\n";
  return false;
}

// What `text` means; the flag's validator saw to it that it is one of `choices`.
template <typename Value, size_t kCount>
Value Chosen(const Choice<Value> (&choices)[kCount], absl::string_view text) {
  return std::find_if(std::begin(choices), std::end(choices),
                      [&](const Choice<Value>& choice) { return choice.first == text; })
      ->second;
}

bool ValidateFamily(const char*, const std::string& value) {
  const absl::Status status = FamilyDialect(value).status();
  if (!status.ok()) std::cerr << "--family " << status.message() << "\n";
  return status.ok();
}
bool ValidateDialect(const char*, const std::string& value) {
  if (value.empty()) return true;
  const absl::Status status = BuiltInDialect(value).status();
  if (!status.ok()) std::cerr << "--dialect " << status.message() << "\n";
  return status.ok();
}
bool ValidateHeaderVersion(const char*, const std::string& value) {
  uint32_t version = 0;
  if (value == kAuto || absl::SimpleAtoi(value, &version)) return true;
  std::cerr << "--header_version must be a number or auto\n";
  return false;
}
bool ValidatePacketSize(const char*, int64_t value) {
  if (value >= 0 && value <= kMaxPacketSize) return true;
  std::cerr << "--packet_size must be 0 to " << kMaxPacketSize << "\n";
  return false;
}
bool ValidateTries(const char*, int32_t value) {
  if (value >= 1 && value <= kMaxTries) return true;
  std::cerr << "--tries must be 1 to " << kMaxTries << "\n";
  return false;
}
bool ValidateTimeout(const char*, const std::string& value) {
  absl::Duration timeout;
  if (absl::ParseDuration(value, &timeout) && timeout > absl::ZeroDuration()) return true;
  std::cerr << "--timeout must be a duration like 30s or 5m\n";
  return false;
}
DEFINE_validator(family, &ValidateFamily);
DEFINE_validator(dialect, &ValidateDialect);
DEFINE_validator(header_version, &ValidateHeaderVersion);
DEFINE_validator(checksum, &ValidateChoice<kChecksums>);
DEFINE_validator(file_style, &ValidateChoice<kFileStyles>);
DEFINE_validator(content_size, &ValidateChoice<kContentSizes>);
DEFINE_validator(original_size, &ValidateChoice<kOriginalSizes>);
DEFINE_validator(public_key, &ValidateChoice<kPublicKeyForms>);
DEFINE_validator(connection, &ValidateChoice<kConnections>);
DEFINE_validator(retry_notice, &ValidateChoice<kRetryNotices>);
DEFINE_validator(packet_size, &ValidatePacketSize);
DEFINE_validator(tries, &ValidateTries);
DEFINE_validator(timeout, &ValidateTimeout);

// The dialect that one flag names.
absl::StatusOr<Dialect> DialectFromFlags() {
  const bool says_family = !gflags::GetCommandLineFlagInfoOrDie("family").is_default;
  if (says_family + !FLAGS_dialect.empty() + !FLAGS_dialect_file.empty() > 1) {
    return absl::InvalidArgumentError("--family, --dialect and --dialect_file exclude each other");
  }
  if (!FLAGS_dialect_file.empty()) return ReadDialect(FLAGS_dialect_file);
  return FLAGS_dialect.empty() ? FamilyDialect(FLAGS_family) : BuiltInDialect(FLAGS_dialect);
}

absl::StatusOr<ClientStyle> StyleFromFlags() {
  ClientStyle style;
  ASSIGN_OR_RETURN(style.dialect, DialectFromFlags());
  uint32_t version = 0;
  if (absl::SimpleAtoi(FLAGS_header_version, &version)) style.header_version = version;
  style.checksum_kind = Chosen(kChecksums, FLAGS_checksum);
  style.file_style = Chosen(kFileStyles, FLAGS_file_style);
  style.content_size = Chosen(kContentSizes, FLAGS_content_size);
  style.original_size = Chosen(kOriginalSizes, FLAGS_original_size);
  style.public_key_form = Chosen(kPublicKeyForms, FLAGS_public_key);
  style.connection_use = Chosen(kConnections, FLAGS_connection);
  style.retry_notice = Chosen(kRetryNotices, FLAGS_retry_notice);
  if (FLAGS_packet_size != 0) style.packet_size = FLAGS_packet_size;
  style.swap_packet_fields = FLAGS_swap_packet_fields;
  style.extra_packet = FLAGS_extra_packet;
  style.pad_packets = FLAGS_pad_packets;
  style.blocks_1024 = FLAGS_blocks_1024;
  style.id_in_payload = FLAGS_id_in_payload;
  style.short_fields = FLAGS_short_fields;
  return Complete(std::move(style));
}

ConversationOptions OptionsFromFlags(const TransferInfo& info, const ClientStyle& style) {
  ConversationOptions options;
  options.client_name = info.client_name;
  options.dir = FLAGS_dir;
  options.server = info.server;
  CHECK(absl::ParseDuration(FLAGS_timeout, &options.timeout));  // The validator saw to it.
  options.style = style;
  options.tries_of_file = FLAGS_tries;
  return options;
}

int Refuse(int exit_code, const absl::Status& status) {
  for (const absl::string_view line : absl::StrSplit(status.message(), '\n')) {
    std::cerr << "legacy-client: " << Printable(line) << "\n";
  }
  return exit_code;
}

// A server that is gone or silent will not take the files that are left either.
bool IsHopeless(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

int SendFiles(const TransferInfo& info, const ClientStyle& style) {
  Report report({FLAGS_json, FLAGS_quiet});
  ConversationOptions options = OptionsFromFlags(info, style);
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
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    const std::string why = errno == 0 ? "" : absl::StrCat(": ", std::strerror(errno));
    return Refuse(kFailed,
                  absl::InternalError(absl::StrCat("cannot write to standard output", why)));
  }
  if (report.failed() == 0) return kOk;
  if (report.ok() > 0) return kPartial;
  return absl::IsUnavailable(hopeless) ? kUnreachable : kFailed;
}

// gflags ends the process with 1 for a wrong flag as for --helpfull; with 0 for --version.
void EndForFlags(int code) {
  const bool asked_for_help = FLAGS_helpfull || FLAGS_helpshort;
  std::exit(code == 0 || asked_for_help ? kOk : kUsage);
}

int Main(int argc, char** argv) {
  TakeOverInheritedState();
  google::gflags_exitfunc = &EndForFlags;
  gflags::SetUsageMessage(kUsageMessage);
  gflags::SetVersionString(BACKUP_VERSION);
  FLAGS_logtostderr = true;
  gflags::ParseCommandLineNonHelpFlags(&argc, &argv, true);
  if (FLAGS_help) {
    ShowHelp(kUsageMessage, FlagsOfFiles({__FILE__}),
             "--helpfull also tells the flags of libraries.");
  }
  gflags::HandleCommandLineHelpFlags();
  google::InitGoogleLogging(argv[0]);
  if (argc > 1) {
    return Refuse(kUsage, absl::InvalidArgumentError(
                              absl::StrCat("what is ", argv[1], "? flags begin with --")));
  }
  const absl::StatusOr<ClientStyle> style = StyleFromFlags();
  if (!style.ok()) return Refuse(kUsage, style.status());
  const absl::StatusOr<TransferInfo> info =
      ReadTransferInfo(absl::StrCat(FLAGS_dir, "/transfer.info"));
  if (!info.ok()) return Refuse(kUsage, info.status());
  return SendFiles(*info, *style);
}

}  // namespace
}  // namespace backup::legacy_client

int main(int argc, char** argv) { return backup::legacy_client::Main(argc, argv); }
