#include "legacy_client/client_style.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "legacy_client/fields.h"
#include "legacy_client/file_plan.h"

namespace backup::legacy_client {
namespace {

using bridge::v1::ChecksumRule;
using bridge::v1::Cryptography;
using bridge::v1::Field;
using bridge::v1::FileContent;
using bridge::v1::MessagePadding;
using bridge::v1::Packets;
using bridge::v1::Request;

// What no flag says.
constexpr uint32_t kUsualVersion = 3;
constexpr char kOldClientsFamily[] = "C";

absl::Status Refuse(absl::string_view why) { return absl::InvalidArgumentError(why); }

FileContent& ContentOf(ClientStyle& style) {
  return *FindRequest(style.dialect, RequestKind::FILE)->mutable_content();
}
const FileContent& ContentOf(const ClientStyle& style) {
  return FileRequestOf(style.dialect).content();
}

bool FileHas(const ClientStyle& style, Field::Kind kind) {
  return FindField(FileRequestOf(style.dialect).fields(), kind) != nullptr;
}

bool Contains(const google::protobuf::RepeatedField<uint32_t>& versions, uint32_t version) {
  return std::find(versions.begin(), versions.end(), version) != versions.end();
}
bool IsEmptyOrContains(const google::protobuf::RepeatedField<uint32_t>& versions,
                       uint32_t version) {
  return versions.empty() || Contains(versions, version);
}

// Ids that may be missing are there or they are not.
absl::Status SettleIds(ClientStyle& style) {
  bool any = false;
  for (Request& request : *style.dialect.mutable_requests()) {
    auto& fields = *request.mutable_fields();
    for (Field& field : fields) any = any || field.may_be_missing();
    if (style.id_in_payload) {
      for (Field& field : fields) field.set_may_be_missing(false);
    } else {
      fields.erase(std::remove_if(fields.begin(), fields.end(),
                                  [](const Field& field) { return field.may_be_missing(); }),
                   fields.end());
    }
  }
  if (style.id_in_payload && !any && !FileHas(style, Field::CLIENT_ID)) {
    return Refuse("--id_in_payload needs a dialect with ids in the payload of its files");
  }
  return absl::OkStatus();
}

absl::Status SettlePadding(ClientStyle& style) {
  MessagePadding& padding = *style.dialect.mutable_padding();
  if (padding.requests() == MessagePadding::BY_CLIENT) {
    padding.set_requests(style.blocks_1024 ? MessagePadding::ALWAYS : MessagePadding::NEVER);
    // Only those that pad send blocks.
    if (!style.blocks_1024) ContentOf(style).clear_blocks();
  } else if (style.blocks_1024 && padding.requests() == MessagePadding::NEVER) {
    return Refuse("--blocks_1024 needs --family=A or B, or a dialect with clients that pad");
  }
  if (padding.answers() == MessagePadding::BY_CLIENT) padding.set_answers(padding.requests());
  return absl::OkStatus();
}

FileStyle UsualFileStyle(const ClientStyle& style) {
  const FileContent& content = ContentOf(style);
  if (content.has_packets()) {
    return content.packets().encryption() == Packets::ONE_STREAM ? FileStyle::kStream
                                                                 : FileStyle::kChunks;
  }
  // By either: there are clients that send files of any size as one.
  if (content.has_blocks() && content.length() == FileContent::BY_PAYLOAD_SIZE) {
    return FileStyle::kBlocks;
  }
  return content.length() == FileContent::BY_CONTENT_SIZE ? FileStyle::kUncounted
                                                          : FileStyle::kCounted;
}

absl::Status CheckFileStyle(const ClientStyle& style) {
  const FileStyle file_style = *style.file_style;
  const FileContent& content = ContentOf(style);
  const bool is_of_packets = file_style == FileStyle::kChunks || file_style == FileStyle::kStream;
  if (content.has_packets() && !is_of_packets) {
    return Refuse("files in packets (--family=D and E) need --file_style=chunks or stream");
  }
  if (!content.has_packets() && is_of_packets) {
    return Refuse("--file_style=chunks and stream need --family=D or E, or a dialect with packets");
  }
  const Packets::Encryption encryption = content.packets().encryption();
  if (is_of_packets && encryption != Packets::BY_SIZE &&
      (encryption == Packets::ONE_STREAM) != (file_style == FileStyle::kStream)) {
    return Refuse("--file_style says another encryption of packets than the dialect");
  }
  const bool lies = file_style == FileStyle::kUncounted || file_style == FileStyle::kTruncated;
  if (lies && content.length() == FileContent::BY_PAYLOAD_SIZE) {
    return Refuse(
        "--file_style=uncounted and truncated need a dialect with a length BY_EITHER "
        "or BY_CONTENT_SIZE");
  }
  // The bridge takes what follows an id for a file as a whole.
  const bool may_be_in_blocks = content.has_blocks() && !FileHas(style, Field::CLIENT_ID);
  if (file_style == FileStyle::kBlocks && !may_be_in_blocks) {
    return Refuse(
        "--file_style=blocks needs --family=B and --blocks_1024, or a dialect with "
        "blocks");
  }
  return absl::OkStatus();
}

// The dialect says no more than this one style.
absl::Status SettleFileStyle(ClientStyle& style) {
  if (!style.file_style) style.file_style = UsualFileStyle(style);
  RETURN_IF_ERROR(CheckFileStyle(style));
  FileContent& content = ContentOf(style);
  if (*style.file_style != FileStyle::kBlocks) content.clear_blocks();
  if (content.has_packets()) {
    content.mutable_packets()->set_encryption(
        style.file_style == FileStyle::kStream ? Packets::ONE_STREAM : Packets::EACH_PACKET);
  }
  return absl::OkStatus();
}

absl::Status SettleContentSize(ClientStyle& style) {
  FileContent& content = ContentOf(style);
  const bool wants_plaintext = style.content_size == ContentSize::kPlaintext;
  const bool is_open = content.content_size_counts() == FileContent::CIPHERTEXT_OR_PLAINTEXT;
  const bool counts_plaintext = content.content_size_counts() == FileContent::PLAINTEXT;
  if (!is_open) {
    if (style.content_size && wants_plaintext != counts_plaintext) {
      return Refuse("--content_size says another than the dialect, which leaves no choice");
    }
    style.content_size = counts_plaintext ? ContentSize::kPlaintext : ContentSize::kCiphertext;
    return absl::OkStatus();
  }
  if (wants_plaintext && *style.file_style != FileStyle::kCounted &&
      *style.file_style != FileStyle::kChunks) {
    return Refuse(
        "--content_size=plaintext needs --file_style=counted or chunks: else only the "
        "content size tells how long the ciphertext is");
  }
  if (wants_plaintext && style.pad_packets) {
    return Refuse(
        "--pad_packets needs --content_size=ciphertext: else nothing tells how long it "
        "is");
  }
  style.content_size = wants_plaintext ? ContentSize::kPlaintext : ContentSize::kCiphertext;
  content.set_content_size_counts(wants_plaintext ? FileContent::PLAINTEXT
                                                  : FileContent::CIPHERTEXT);
  return absl::OkStatus();
}

absl::Status SettlePackets(ClientStyle& style) {
  const FileContent& content = ContentOf(style);
  const bool says_how_packets_are = style.packet_size || style.swap_packet_fields ||
                                    style.extra_packet || style.pad_packets ||
                                    style.original_size == OriginalSize::kPacket;
  if (!content.has_packets()) {
    if (!says_how_packets_are) return absl::OkStatus();
    return Refuse(
        "--packet_size, --original_size, --swap_packet_fields, --extra_packet and "
        "--pad_packets need --family=D or E, or a dialect with packets");
  }
  if (style.original_size == OriginalSize::kPacket && style.file_style != FileStyle::kChunks) {
    return Refuse("--original_size=packet needs --file_style=chunks");
  }
  if (style.swap_packet_fields && !content.packets().numbers_may_be_swapped()) {
    return Refuse("--swap_packet_fields needs a dialect with numbers_may_be_swapped");
  }
  if (style.extra_packet && !content.packets().surplus_is_ignored()) {
    return Refuse("--extra_packet needs a dialect with surplus_is_ignored");
  }
  if (!style.packet_size) style.packet_size = kDefaultPacketSize;
  const bool pads_each = style.file_style == FileStyle::kChunks &&
                         style.dialect.cryptography().padding() == Cryptography::ZEROS;
  if (pads_each && *style.packet_size % int64_t{kCipherBlockSize} != 0) {
    return Refuse("--packet_size must be a multiple of 16 with this dialect");
  }
  return absl::OkStatus();
}

ChecksumKind KindOf(ChecksumRule::Checksum checksum) {
  switch (checksum) {
    case ChecksumRule::CRC32_OF_CIPHERTEXT:
      return ChecksumKind::kCrc32OfCiphertext;
    case ChecksumRule::CKSUM_OF_CIPHERTEXT:
      return ChecksumKind::kCksumOfCiphertext;
    case ChecksumRule::CRC32_OF_PLAINTEXT:
      return ChecksumKind::kCrc32OfPlaintext;
    default:
      return ChecksumKind::kCksumOfPlaintext;
  }
}

bool Fits(const ChecksumRule& rule, const ClientStyle& style) {
  return (!rule.id_in_payload() || FileHas(style, Field::CLIENT_ID)) &&
         (!rule.content_size_of_plaintext() ||
          ContentOf(style).content_size_counts() == FileContent::PLAINTEXT);
}

// What the server's first try will be.
ChecksumKind ExpectedChecksum(const ClientStyle& style) {
  for (const ChecksumRule& rule : style.dialect.checksums()) {
    if (IsEmptyOrContains(rule.versions(), *style.header_version) && Fits(rule, style)) {
      return KindOf(rule.checksum());
    }
  }
  return ChecksumKind::kCksumOfPlaintext;
}

// A version may tell the server what the client sums: then it goes with the checksum.
uint32_t UsualVersion(const ClientStyle& style) {
  const auto& recognition = style.dialect.recognition();
  if (!recognition.versions().empty()) return recognition.versions(0);
  for (const ChecksumRule& rule : style.dialect.checksums()) {
    const bool is_wanted = !style.checksum_kind || *style.checksum_kind == KindOf(rule.checksum());
    if (!rule.versions().empty() && is_wanted && Fits(rule, style)) return rule.versions(0);
  }
  uint32_t version = kUsualVersion;
  while (Contains(recognition.not_versions(), version)) ++version;
  return version;
}

absl::Status SettleVersionAndChecksum(ClientStyle& style) {
  if (!style.header_version) style.header_version = UsualVersion(style);
  const uint32_t version = *style.header_version;
  const Field* const field = FindField(style.dialect.request_header(), Field::VERSION);
  const auto& recognition = style.dialect.recognition();
  if ((field != nullptr && version > MaxOf(*field)) ||
      !IsEmptyOrContains(recognition.versions(), version) ||
      Contains(recognition.not_versions(), version)) {
    return Refuse(
        absl::StrCat("--header_version=", version, " is none of dialect ", style.dialect.name()));
  }
  if (!style.checksum_kind) style.checksum_kind = ExpectedChecksum(style);
  return absl::OkStatus();
}

void SettlePublicKey(ClientStyle& style) {
  Cryptography& cryptography = *style.dialect.mutable_cryptography();
  if (!style.public_key_form) {
    style.public_key_form = cryptography.public_key_form() == Cryptography::PKCS1
                                ? PublicKeyForm::kPkcs1
                                : PublicKeyForm::kSpki;
  }
  const bool is_pkcs1 = *style.public_key_form == PublicKeyForm::kPkcs1;
  cryptography.set_public_key_form(is_pkcs1 ? Cryptography::PKCS1 : Cryptography::SPKI);
}

ConnectionUse UsualConnectionUse(const ClientStyle& style) {
  // Version 1 of C is the old client of this project.
  const bool is_old_client = style.dialect.name() == kOldClientsFamily && style.header_version == 1;
  const bool is_per_request = is_old_client || ServerHangsUp(style) ||
                              style.dialect.conversation().connection_per_request();
  return is_per_request ? ConnectionUse::kPerRequest : ConnectionUse::kSingle;
}

RetryNotice UsualRetryNotice(const ClientStyle& style) {
  switch (style.dialect.conversation().retry_answer()) {
    case bridge::v1::Conversation::NOT_AT_ALL:
      return RetryNotice::kAtOnce;
    case bridge::v1::Conversation::AT_ONCE:
      return RetryNotice::kWait;
    default:
      return style.connection_use == ConnectionUse::kSingle ? RetryNotice::kAtOnce
                                                            : RetryNotice::kWait;
  }
}

absl::Status SettleConnection(ClientStyle& style) {
  if (!style.connection_use) style.connection_use = UsualConnectionUse(style);
  if (style.connection_use == ConnectionUse::kSingle && ServerHangsUp(style)) {
    return Refuse(
        "this client (--blocks_1024 with header version 3, or its dialect says so) needs "
        "--connection=per-request: the server hangs up");
  }
  if (!style.retry_notice) style.retry_notice = UsualRetryNotice(style);
  if (style.retry_notice == RetryNotice::kWait &&
      style.dialect.conversation().retry_answer() == bridge::v1::Conversation::NOT_AT_ALL) {
    return Refuse("--retry_notice=wait needs a dialect whose retry notices are answered");
  }
  return absl::OkStatus();
}

// The largest plaintext whose encryption fits into `size` bytes, as clients choose it that have a
// whole block of padding; but where there is room for one block only, the padding is less.
int64_t PlaintextIn(int64_t size, const EncryptionOptions& options) {
  const int64_t block = kCipherBlockSize;
  const int64_t room = size - (options.vector_in_front ? block : 0);
  if (options.padding == CipherPadding::kZeros) return room;
  return room > block ? room - block : room - 1;
}

absl::Status CheckEncryption(const ClientStyle& style) {
  const EncryptionOptions options = EncryptionOf(style);
  const bool is_in_chunks =
      ContentOf(style).encrypted_piece_size() != 0 || style.file_style == FileStyle::kBlocks;
  if (is_in_chunks && options.chunk_size <= 0) {
    return Refuse("the pieces of this --dialect_file have no room for any plaintext");
  }
  return absl::OkStatus();
}

}  // namespace

bool ServerHangsUp(const ClientStyle& style) {
  const auto& conversation = style.dialect.conversation();
  const bool is_padded = style.dialect.padding().requests() == MessagePadding::ALWAYS;
  const bool ends =
      conversation.end_after_answer() == bridge::v1::Conversation::ENDS ||
      (conversation.end_after_answer() == bridge::v1::Conversation::ENDS_IF_PADDED && is_padded);
  return ends && IsEmptyOrContains(conversation.end_versions(), *style.header_version);
}

ClientId IdIn(RequestKind kind, const ClientId& id, const ClientStyle& style, bool is_known_there) {
  const bool has_name = kind == RequestKind::PUBLIC_KEY || kind == RequestKind::RECONNECT;
  const bool by_name = style.dialect.conversation().zero_id() == bridge::v1::Conversation::BY_NAME;
  return by_name && (has_name || is_known_there) ? ClientId() : id;
}

FrameStyle FrameStyleOf(const ClientStyle& style) {
  return {*style.header_version, style.short_fields};
}

EncryptionOptions EncryptionOf(const ClientStyle& style) {
  const Cryptography& cryptography = style.dialect.cryptography();
  const FileContent& content = ContentOf(style);
  EncryptionOptions options;
  options.checksum_kind = *style.checksum_kind;
  options.vector_in_front = cryptography.initial_vector() == Cryptography::IN_FRONT;
  if (cryptography.padding() == Cryptography::ZEROS) {
    options.padding = CipherPadding::kZeros;
    options.padding_is_stored = !FileHas(style, Field::ORIGINAL_SIZE);
  }
  options.plaintext_multiple_of = std::max<int64_t>(cryptography.plaintext_multiple_of(), 1);
  if (style.file_style == FileStyle::kChunks) options.chunk_size = *style.packet_size;
  if (style.file_style == FileStyle::kBlocks) {
    options.first_chunk_size = PlaintextIn(FirstBlockSize(style), options);
    options.chunk_size = PlaintextIn(content.blocks().size(), options);
  }
  if (content.encrypted_piece_size() != 0) {
    options.chunk_size = PlaintextIn(content.encrypted_piece_size(), options);
  }
  return options;
}

absl::StatusOr<ClientStyle> Complete(ClientStyle style) {
  RETURN_IF_ERROR(SettleIds(style));
  RETURN_IF_ERROR(SettlePadding(style));
  RETURN_IF_ERROR(SettleFileStyle(style));
  RETURN_IF_ERROR(SettleContentSize(style));
  RETURN_IF_ERROR(SettlePackets(style));
  RETURN_IF_ERROR(SettleVersionAndChecksum(style));
  SettlePublicKey(style);
  RETURN_IF_ERROR(SettleConnection(style));
  RETURN_IF_ERROR(CheckEncryption(style));
  return style;
}

}  // namespace backup::legacy_client
