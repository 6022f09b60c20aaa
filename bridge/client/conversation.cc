#include "bridge/client/conversation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "bridge/client/identity.h"

namespace backup::legacy_client {
namespace {

constexpr int kMaxTriesOfFile = 3;
constexpr int kMaxRepeatsOfRefused = 3;
// The header's version tells the server which checksum to answer with.
constexpr uint8_t kVersionForCrc32 = 1;
constexpr uint8_t kVersionForCksum = 3;

absl::Status Unexpected(absl::string_view what, AnswerCode code) {
  return absl::InternalError(
      absl::StrCat("the server answers to ", what, " with ", static_cast<int>(code)));
}

// `ask` until it is answered with something other than a general error, or too often with one.
absl::StatusOr<Answer> AskUntilNotRefused(absl::FunctionRef<absl::StatusOr<Answer>()> ask) {
  for (int repeats = 0;; ++repeats) {
    ASSIGN_OR_RETURN(Answer answer, ask());
    if (answer.code != AnswerCode::kGeneralError) return answer;
    if (repeats == kMaxRepeatsOfRefused) {
      return absl::InternalError("the server answers with a general error");
    }
  }
}

}  // namespace

Conversation::Conversation(ConversationOptions options)
    : options_(std::move(options)), channel_(options_.channel) {
  sender_.version = options_.checksum_kind == ChecksumKind::kCrc32OfCiphertext ? kVersionForCrc32
                                                                               : kVersionForCksum;
}

absl::Status Conversation::Start() {
  ASSIGN_OR_RETURN(const std::optional<Identity> known, LoadIdentity(options_.dir));
  if (!known) {
    key_pair_ = KeyPair::Generate();
    return Register();
  }
  if (known->name != options_.client_name) {
    return absl::FailedPreconditionError("me.info belongs to a client of another name");
  }
  sender_.id = known->id;
  ASSIGN_OR_RETURN(key_pair_, KeyPair::FromPrivateDer(known->private_key));
  ASSIGN_OR_RETURN(const bool accepted, Reconnect());
  return accepted ? absl::OkStatus() : Register();
}

// False if the server does not know this client.
absl::StatusOr<bool> Conversation::Reconnect() {
  ASSIGN_OR_RETURN(const Answer answer,
                   Ask(EncodeNameRequest(sender_, RequestCode::kReconnect, options_.client_name)));
  if (answer.code == AnswerCode::kReconnectDenied) return false;
  if (answer.code != AnswerCode::kReconnected) return Unexpected("a reconnect", answer.code);
  RETURN_IF_ERROR(TakeSessionKey(answer));
  return true;
}

absl::Status Conversation::Register() {
  ASSIGN_OR_RETURN(const Answer answer,
                   Ask(EncodeNameRequest(sender_, RequestCode::kRegister, options_.client_name)));
  if (answer.code == AnswerCode::kRegistrationFailed) {
    return absl::AlreadyExistsError("the server does not register this name: taken or invalid");
  }
  if (answer.code != AnswerCode::kRegistered) return Unexpected("a registration", answer.code);
  ASSIGN_OR_RETURN(sender_.id, DecodeIdPayload(answer.payload));
  RETURN_IF_ERROR(
      SaveIdentity(options_.dir, {options_.client_name, sender_.id, key_pair_->PrivateDer()}));
  return SendPublicKey();
}

absl::Status Conversation::SendPublicKey() {
  ASSIGN_OR_RETURN(const Answer answer, Ask(EncodePublicKeyRequest(sender_, options_.client_name,
                                                                   key_pair_->PublicDer())));
  if (answer.code != AnswerCode::kKeyAccepted) return Unexpected("a public key", answer.code);
  return TakeSessionKey(answer);
}

absl::Status Conversation::TakeSessionKey(const Answer& answer) {
  ASSIGN_OR_RETURN(const KeyAnswer key, DecodeKeyPayload(answer.payload));
  if (key.id != sender_.id) return absl::DataLossError("the session key is for another client");
  ASSIGN_OR_RETURN(session_key_, key_pair_->Decrypt(key.encrypted_key));
  if (session_key_.size() != kSessionKeySize) {
    return absl::DataLossError(absl::StrCat("the session key has ", session_key_.size(), " bytes"));
  }
  return absl::OkStatus();
}

absl::StatusOr<SentFile> Conversation::SendFile(absl::string_view name, const std::string& path) {
  if (name.empty() || name.size() > kNameFieldSize) {
    return absl::InvalidArgumentError("a file name has 1 to 255 bytes");
  }
  for (int tries = 1;; ++tries) {
    ASSIGN_OR_RETURN(const Transfer transfer, Send(name, path));
    if (transfer.answered_checksum == transfer.own_checksum) {
      RETURN_IF_ERROR(Report(RequestCode::kChecksumOk, name));
      return SentFile{transfer.size_bytes, transfer.own_checksum, tries};
    }
    if (tries == kMaxTriesOfFile) {
      RETURN_IF_ERROR(Report(RequestCode::kAbort, name));
      return absl::DataLossError(
          absl::StrFormat("the checksum was wrong %d times, at last %08x instead of %08x",
                          kMaxTriesOfFile, transfer.answered_checksum, transfer.own_checksum));
    }
    RETURN_IF_ERROR(channel_.NotifyOfRetry(EncodeNameRequest(sender_, RequestCode::kRetry, name)));
  }
}

absl::StatusOr<Conversation::Transfer> Conversation::Send(absl::string_view name,
                                                          const std::string& path) {
  std::unique_ptr<EncryptedFile> file;
  ASSIGN_OR_RETURN(const Answer answer, AskUntilNotRefused([&]() -> absl::StatusOr<Answer> {
                     ASSIGN_OR_RETURN(file, EncryptedFile::Open(path, session_key_));
                     return SendContent(name, *file);
                   }));
  Transfer transfer;
  RETURN_IF_ERROR(CheckFileAnswer(answer, name, *file, transfer));
  return transfer;
}

absl::StatusOr<Answer> Conversation::SendContent(absl::string_view name, EncryptedFile& file) {
  const int64_t total = file.ciphertext_size();
  if (total > kMaxContentSize) {
    return absl::InvalidArgumentError("the protocol has no room for files of 4 GiB and more");
  }
  int64_t sent = 0;
  return channel_.AskWithContent(EncodeFileHead(sender_, total, name), file, [&](size_t size) {
    sent += static_cast<int64_t>(size);
    if (options_.on_progress) options_.on_progress(sent, total);
  });
}

absl::Status Conversation::CheckFileAnswer(const Answer& answer, absl::string_view name,
                                           const EncryptedFile& file, Transfer& transfer) const {
  if (answer.code != AnswerCode::kFileReceived) return Unexpected("a file", answer.code);
  ASSIGN_OR_RETURN(const FileAnswer received, DecodeFilePayload(answer.payload));
  if (received.id != sender_.id || received.file_name != name ||
      int64_t{received.content_size} != file.ciphertext_size()) {
    return absl::DataLossError("the server's answer is about another file");
  }
  transfer = {file.plaintext_size(), file.Checksum(options_.checksum_kind), received.checksum};
  return absl::OkStatus();
}

absl::Status Conversation::Report(RequestCode code, absl::string_view name) {
  ASSIGN_OR_RETURN(const Answer answer, Ask(EncodeNameRequest(sender_, code, name)));
  if (answer.code != AnswerCode::kAcknowledged) return Unexpected("a report", answer.code);
  return absl::OkStatus();
}

absl::StatusOr<Answer> Conversation::Ask(absl::string_view request) {
  return AskUntilNotRefused([&] { return channel_.Ask(request); });
}

}  // namespace backup::legacy_client
