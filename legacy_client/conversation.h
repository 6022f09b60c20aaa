#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "legacy_client/channel.h"
#include "legacy_client/client_style.h"
#include "legacy_client/encrypted_file.h"
#include "legacy_client/file_plan.h"
#include "legacy_client/frames.h"
#include "legacy_client/key_pair.h"
#include "legacy_client/transfer_info.h"

namespace backup::legacy_client {

inline constexpr int kDefaultTriesOfFile = 3;

struct ConversationOptions {
  std::string client_name;
  std::string dir;  // Where me.info and priv.key are kept.
  Endpoint server;
  absl::Duration timeout = absl::Seconds(30);  // For the server to move a byte.
  ClientStyle style;                           // Complete() must be OK for it.
  int tries_of_file = kDefaultTriesOfFile;     // On a wrong checksum; at least 1.
  // Hears how much of a file's ciphertext has been sent; may be empty.
  std::function<void(int64_t sent_bytes, int64_t total_bytes)> on_progress;
};

// A file that the server has and whose checksum is right.
struct SentFile {
  int64_t size_bytes = 0;
  uint32_t checksum = 0;
  int tries = 0;
};

// A client's part of the protocol: makes itself known, then sends files. What the server refuses
// with a general error is tried again, three times. Used by one thread at a time.
class Conversation {
 public:
  explicit Conversation(ConversationOptions options);

  // Reconnects with the identity in `dir` (in a dialect without reconnect: sends its public key
  // again), or registers and leaves one there. AlreadyExists if the server has given the name to
  // somebody else; FailedPrecondition if the identity is of another name; InvalidArgument if the
  // dialect has no room for the name or the key.
  absl::Status Start();

  // Sends the file at `path` under `name`, as often as the options allow; only after Start().
  // DataLoss if the server's checksum was wrong each time, or once in a dialect without retries;
  // InvalidArgument if the dialect has no room for the name or the file.
  absl::StatusOr<SentFile> SendFile(absl::string_view name, const std::string& path);

 private:
  struct Transfer {
    int64_t size_bytes = 0;
    uint32_t own_checksum = 0;
    uint32_t answered_checksum = 0;
  };

  absl::StatusOr<bool> Reconnect();
  absl::Status Register();
  absl::Status SendPublicKey();
  absl::Status TakeSessionKey(const Answer& answer);
  absl::StatusOr<Transfer> Send(absl::string_view name, const std::string& path);
  absl::StatusOr<Answer> SendContent(const FilePlan& plan, EncryptedFile& file);
  absl::StatusOr<uint32_t> ChecksumIn(const Answer& answer, absl::string_view name,
                                      const FilePlan& plan) const;
  absl::Status Report(RequestKind kind, absl::string_view name);
  bool IsMine(const AnswerValues& values) const;
  RequestValues ValuesOf(RequestKind kind) const;
  absl::StatusOr<Answer> Ask(RequestKind kind, RequestValues values);

  const ConversationOptions options_;
  const ClientStyle style_;  // Complete.
  const Frames frames_;
  Channel channel_;
  ClientId id_;
  std::optional<KeyPair> key_pair_;
  std::string session_key_;
};

}  // namespace backup::legacy_client
