#include "legacy_client/conversation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "legacy_client/file_request.h"
#include "legacy_client/identity.h"
#include "legacy_client/text_content.h"

namespace backup::legacy_client {
namespace {

constexpr int kMaxRepeatsOfRefused = 3;

absl::Status Unexpected(absl::string_view what, AnswerKind kind) {
  return absl::InternalError(
      absl::StrCat("the server answers to ", what, " with \"", ToText(kind), "\""));
}

ChannelOptions ChannelOptionsOf(const ConversationOptions& options, const ClientStyle& style) {
  return {options.server, *style.connection_use, options.timeout, *style.retry_notice,
          ServerHangsUp(style)};
}

KeyEncryption KeyEncryptionOf(const Dialect& dialect) {
  return dialect.cryptography().key_encryption() == bridge::v1::Cryptography::RSAES_PKCS1_V15
             ? KeyEncryption::kPkcs1V15
             : KeyEncryption::kOaepSha1;
}

// `ask` until it is answered with something other than a general error, or too often with one.
absl::StatusOr<Answer> AskUntilNotRefused(absl::FunctionRef<absl::StatusOr<Answer>()> ask) {
  for (int repeats = 0;; ++repeats) {
    ASSIGN_OR_RETURN(Answer answer, ask());
    if (answer.header.kind != AnswerKind::GENERAL_ERROR) return answer;
    if (repeats == kMaxRepeatsOfRefused) {
      return absl::InternalError("the server answers with a general error");
    }
  }
}

}  // namespace

Conversation::Conversation(ConversationOptions options)
    : options_(std::move(options)),
      style_(Complete(options_.style).value()),
      frames_(style_.dialect, FrameStyleOf(style_)),
      channel_(frames_, ChannelOptionsOf(options_, style_)) {}

absl::Status Conversation::Start() {
  ASSIGN_OR_RETURN(const std::optional<Identity> known, LoadIdentity(options_.dir));
  if (!known) {
    key_pair_ = KeyPair::Generate();
    return Register();
  }
  if (known->name != options_.client_name) {
    return absl::FailedPreconditionError("me.info belongs to a client of another name");
  }
  id_ = known->id;
  ASSIGN_OR_RETURN(key_pair_, KeyPair::FromPrivateDer(known->private_key));
  if (!frames_.Has(RequestKind::RECONNECT)) return SendPublicKey();
  ASSIGN_OR_RETURN(const bool accepted, Reconnect());
  return accepted ? absl::OkStatus() : Register();
}

// False if the server does not know this client.
absl::StatusOr<bool> Conversation::Reconnect() {
  ASSIGN_OR_RETURN(const Answer answer,
                   Ask(RequestKind::RECONNECT, ValuesOf(RequestKind::RECONNECT)));
  if (answer.header.kind == AnswerKind::RECONNECT_DENIED) return false;
  if (answer.header.kind != AnswerKind::RECONNECTED) {
    return Unexpected("a reconnect", answer.header.kind);
  }
  RETURN_IF_ERROR(TakeSessionKey(answer));
  return true;
}

absl::Status Conversation::Register() {
  ASSIGN_OR_RETURN(const Answer answer,
                   Ask(RequestKind::REGISTER, ValuesOf(RequestKind::REGISTER)));
  if (answer.header.kind == AnswerKind::REGISTRATION_FAILED) {
    return absl::AlreadyExistsError("the server does not register this name: taken or invalid");
  }
  if (answer.header.kind != AnswerKind::REGISTERED) {
    return Unexpected("a registration", answer.header.kind);
  }
  ASSIGN_OR_RETURN(const AnswerValues values, frames_.Decode(answer));
  id_ = values.id.value_or(ClientId());  // A client that is known by its name needs none.
  RETURN_IF_ERROR(SaveIdentity(options_.dir, {options_.client_name, id_, key_pair_->PrivateDer()}));
  return SendPublicKey();
}

absl::Status Conversation::SendPublicKey() {
  const std::string key = key_pair_->PublicDer(*style_.public_key_form);
  RequestValues values = ValuesOf(RequestKind::PUBLIC_KEY);
  values.public_key = key;
  ASSIGN_OR_RETURN(const Answer answer, Ask(RequestKind::PUBLIC_KEY, values));
  if (answer.header.kind != AnswerKind::KEY_ACCEPTED) {
    return Unexpected("a public key", answer.header.kind);
  }
  return TakeSessionKey(answer);
}

absl::Status Conversation::TakeSessionKey(const Answer& answer) {
  ASSIGN_OR_RETURN(const AnswerValues values, frames_.Decode(answer));
  if (!IsMine(values)) return absl::DataLossError("the session key is for another client");
  ASSIGN_OR_RETURN(session_key_,
                   key_pair_->Decrypt(*values.encrypted_key, KeyEncryptionOf(style_.dialect)));
  if (8 * session_key_.size() != style_.dialect.cryptography().session_key_bits()) {
    return absl::DataLossError(absl::StrCat("the session key has ", session_key_.size(), " bytes"));
  }
  return absl::OkStatus();
}

absl::StatusOr<SentFile> Conversation::SendFile(absl::string_view name, const std::string& path) {
  if (name.empty()) return absl::InvalidArgumentError("a file name has at least 1 byte");
  for (int tries = 1;; ++tries) {
    ASSIGN_OR_RETURN(const Transfer transfer, Send(name, path));
    if (transfer.answered_checksum == transfer.own_checksum) {
      RETURN_IF_ERROR(Report(RequestKind::VALID, name));
      return SentFile{transfer.size_bytes, transfer.own_checksum, tries};
    }
    if (tries == options_.tries_of_file || !frames_.Has(RequestKind::RETRY)) {
      if (frames_.Has(RequestKind::ABORT)) RETURN_IF_ERROR(Report(RequestKind::ABORT, name));
      return absl::DataLossError(
          absl::StrFormat("the checksum was wrong %d times, at last %u instead of %u", tries,
                          transfer.answered_checksum, transfer.own_checksum));
    }
    RequestValues values = ValuesOf(RequestKind::RETRY);
    values.file_name = name;
    RETURN_IF_ERROR(frames_.Check(RequestKind::RETRY, values));
    RETURN_IF_ERROR(channel_.NotifyOfRetry(frames_.Request(RequestKind::RETRY, values)));
  }
}

absl::StatusOr<Conversation::Transfer> Conversation::Send(absl::string_view name,
                                                          const std::string& path) {
  std::unique_ptr<EncryptedFile> file;
  std::optional<FilePlan> plan;
  ASSIGN_OR_RETURN(
      const Answer answer, AskUntilNotRefused([&]() -> absl::StatusOr<Answer> {
        ASSIGN_OR_RETURN(file, EncryptedFile::Open(path, session_key_, EncryptionOf(style_)));
        const ClientId id = IdIn(RequestKind::FILE, id_, style_, channel_.knows_client());
        ASSIGN_OR_RETURN(
            FilePlan made,
            FilePlan::Make(style_, frames_, {id, std::string(name), file->plaintext_size()}));
        plan.emplace(std::move(made));
        return SendContent(*plan, *file);
      }));
  ASSIGN_OR_RETURN(const uint32_t answered_checksum, ChecksumIn(answer, name, *plan));
  return Transfer{file->plaintext_size(), file->Checksum(), answered_checksum};
}

absl::StatusOr<Answer> Conversation::SendContent(const FilePlan& plan, EncryptedFile& file) {
  TextContent text(file, FileRequestOf(style_.dialect).content());
  const bool is_text = FileRequestOf(style_.dialect).content().text() != bridge::v1::BINARY;
  FileRequest request(plan, is_text ? static_cast<ByteSource&>(text) : file);
  int64_t reported = 0;
  return channel_.AskWithContent(request, [&] {
    if (request.content_taken() == reported) return;
    reported = request.content_taken();
    if (options_.on_progress) options_.on_progress(reported, plan.content_size());
  });
}

absl::StatusOr<uint32_t> Conversation::ChecksumIn(const Answer& answer, absl::string_view name,
                                                  const FilePlan& plan) const {
  if (answer.header.kind != AnswerKind::FILE_RECEIVED) {
    return Unexpected("a file", answer.header.kind);
  }
  ASSIGN_OR_RETURN(const AnswerValues values, frames_.Decode(answer));
  if (!IsMine(values) ||
      (values.file_name_field && !frames_.IsEcho(*values.file_name_field, name)) ||
      (values.content_size && *values.content_size != plan.claimed_content_size())) {
    return absl::DataLossError("the server's answer is about another file");
  }
  return static_cast<uint32_t>(*values.checksum);
}

absl::Status Conversation::Report(RequestKind kind, absl::string_view name) {
  RequestValues values = ValuesOf(kind);
  values.file_name = name;
  ASSIGN_OR_RETURN(const Answer answer, Ask(kind, values));
  if (answer.header.kind != AnswerKind::ACKNOWLEDGED) {
    return Unexpected("a report", answer.header.kind);
  }
  // Real clients take an empty one, whatever else they expect.
  return answer.payload.empty() ? absl::OkStatus() : frames_.Decode(answer).status();
}

// A client that is known by its name may not have been told its id.
bool Conversation::IsMine(const AnswerValues& values) const {
  return !values.id || id_ == ClientId() || *values.id == id_;
}

RequestValues Conversation::ValuesOf(RequestKind kind) const {
  RequestValues values;
  values.id = IdIn(kind, id_, style_, channel_.knows_client());
  values.client_name = options_.client_name;
  return values;
}

absl::StatusOr<Answer> Conversation::Ask(RequestKind kind, RequestValues values) {
  RETURN_IF_ERROR(frames_.Check(kind, values));
  return AskUntilNotRefused([&] {
    values.id = IdIn(kind, id_, style_, channel_.knows_client());  // A refusal ends connections.
    return channel_.Ask(kind, frames_.Request(kind, values));
  });
}

}  // namespace backup::legacy_client
