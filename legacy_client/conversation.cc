#include "legacy_client/conversation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "legacy_client/file_request.h"
#include "legacy_client/identity.h"

namespace backup::legacy_client {
namespace {

constexpr int kMaxRepeatsOfRefused = 3;

absl::Status Unexpected(absl::string_view what, AnswerKind kind) {
  static constexpr absl::string_view kNames[] = {
      "registered",   "registration failed", "key accepted",     "file received",
      "acknowledged", "reconnected",         "reconnect denied", "general error"};
  return absl::InternalError(absl::StrCat("the server answers to ", what, " with \"",
                                          kNames[static_cast<size_t>(kind)], "\""));
}

ChannelOptions ChannelOptionsOf(const ConversationOptions& options, const ClientStyle& style) {
  return {options.server,      *style.connection_use, options.timeout,     style.family,
          *style.retry_notice, style.blocks_1024,     ServerHangsUp(style)};
}

// `ask` until it is answered with something other than a general error, or too often with one.
absl::StatusOr<Answer> AskUntilNotRefused(absl::FunctionRef<absl::StatusOr<Answer>()> ask) {
  for (int repeats = 0;; ++repeats) {
    ASSIGN_OR_RETURN(Answer answer, ask());
    if (answer.kind != AnswerKind::kGeneralError) return answer;
    if (repeats == kMaxRepeatsOfRefused) {
      return absl::InternalError("the server answers with a general error");
    }
  }
}

}  // namespace

Conversation::Conversation(ConversationOptions options)
    : options_(std::move(options)),
      style_(Complete(options_.style).value()),
      channel_(ChannelOptionsOf(options_, style_)),
      sender_{ClientId(), *style_.header_version, style_.family} {}

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
  if (!HasReconnect(style_.family)) return SendPublicKey();
  ASSIGN_OR_RETURN(const bool accepted, Reconnect());
  return accepted ? absl::OkStatus() : Register();
}

// False if the server does not know this client.
absl::StatusOr<bool> Conversation::Reconnect() {
  ASSIGN_OR_RETURN(const Answer answer,
                   Ask(EncodeNameRequest(sender_, RequestKind::kReconnect, options_.client_name)));
  if (answer.kind == AnswerKind::kReconnectDenied) return false;
  if (answer.kind != AnswerKind::kReconnected) return Unexpected("a reconnect", answer.kind);
  RETURN_IF_ERROR(TakeSessionKey(answer));
  return true;
}

absl::Status Conversation::Register() {
  ASSIGN_OR_RETURN(const Answer answer,
                   Ask(EncodeNameRequest(sender_, RequestKind::kRegister, options_.client_name)));
  if (answer.kind == AnswerKind::kRegistrationFailed) {
    return absl::AlreadyExistsError("the server does not register this name: taken or invalid");
  }
  if (answer.kind != AnswerKind::kRegistered) return Unexpected("a registration", answer.kind);
  ASSIGN_OR_RETURN(sender_.id, DecodeIdPayload(answer.payload));
  RETURN_IF_ERROR(
      SaveIdentity(options_.dir, {options_.client_name, sender_.id, key_pair_->PrivateDer()}));
  return SendPublicKey();
}

absl::Status Conversation::SendPublicKey() {
  const std::string key = key_pair_->PublicKeyField(style_.public_key_form);
  ASSIGN_OR_RETURN(const Answer answer,
                   Ask(EncodePublicKeyRequest(sender_, options_.client_name, key)));
  if (answer.kind != AnswerKind::kKeyAccepted) return Unexpected("a public key", answer.kind);
  return TakeSessionKey(answer);
}

absl::Status Conversation::TakeSessionKey(const Answer& answer) {
  ASSIGN_OR_RETURN(const KeyAnswer key, DecodeKeyPayload(answer.payload));
  if (key.id != sender_.id) return absl::DataLossError("the session key is for another client");
  ASSIGN_OR_RETURN(session_key_, key_pair_->Decrypt(key.encrypted_key));
  if (session_key_.size() != TraitsOf(style_.family).session_key_size) {
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
      RETURN_IF_ERROR(Report(RequestKind::kChecksumOk, name));
      return SentFile{transfer.size_bytes, transfer.own_checksum, tries};
    }
    if (tries == options_.tries_of_file) {
      RETURN_IF_ERROR(Report(RequestKind::kAbort, name));
      return absl::DataLossError(
          absl::StrFormat("the checksum was wrong %d times, at last %u instead of %u", tries,
                          transfer.answered_checksum, transfer.own_checksum));
    }
    RETURN_IF_ERROR(channel_.NotifyOfRetry(EncodeNameRequest(sender_, RequestKind::kRetry, name)));
  }
}

absl::StatusOr<Conversation::Transfer> Conversation::Send(absl::string_view name,
                                                          const std::string& path) {
  std::unique_ptr<EncryptedFile> file;
  std::unique_ptr<FilePlan> plan;
  ASSIGN_OR_RETURN(
      const Answer answer, AskUntilNotRefused([&]() -> absl::StatusOr<Answer> {
        ASSIGN_OR_RETURN(file, EncryptedFile::Open(path, session_key_,
                                                   {*style_.checksum_kind, ChunkSize(style_)}));
        ASSIGN_OR_RETURN(
            plan, MakeFilePlan(style_, {sender_, std::string(name), file->plaintext_size()}));
        return SendContent(*plan, *file);
      }));
  ASSIGN_OR_RETURN(const uint32_t answered_checksum, ChecksumIn(answer, name, *plan));
  return Transfer{file->plaintext_size(), file->Checksum(), answered_checksum};
}

absl::StatusOr<Answer> Conversation::SendContent(const FilePlan& plan, EncryptedFile& file) {
  FileRequest request(plan, file);
  int64_t reported = 0;
  return channel_.AskWithContent(request, [&] {
    if (request.content_taken() == reported) return;
    reported = request.content_taken();
    if (options_.on_progress) options_.on_progress(reported, file.ciphertext_size());
  });
}

absl::StatusOr<uint32_t> Conversation::ChecksumIn(const Answer& answer, absl::string_view name,
                                                  const FilePlan& plan) const {
  if (answer.kind != AnswerKind::kFileReceived) return Unexpected("a file", answer.kind);
  ASSIGN_OR_RETURN(const FileAnswer received, DecodeFilePayload(answer.payload));
  if (received.id != sender_.id || received.file_name != name ||
      int64_t{received.content_size} != plan.claimed_content_size()) {
    return absl::DataLossError("the server's answer is about another file");
  }
  return received.checksum;
}

absl::Status Conversation::Report(RequestKind kind, absl::string_view name) {
  ASSIGN_OR_RETURN(const Answer answer, Ask(EncodeNameRequest(sender_, kind, name)));
  if (answer.kind != AnswerKind::kAcknowledged) return Unexpected("a report", answer.kind);
  return absl::OkStatus();
}

absl::StatusOr<Answer> Conversation::Ask(absl::string_view request) {
  return AskUntilNotRefused([&] { return channel_.Ask(request); });
}

}  // namespace backup::legacy_client
