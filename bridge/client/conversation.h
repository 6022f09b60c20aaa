#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bridge/client/channel.h"
#include "bridge/client/encrypted_file.h"
#include "bridge/client/frames.h"
#include "bridge/client/key_pair.h"

namespace backup::legacy_client {

struct ConversationOptions {
  std::string client_name;
  std::string dir;  // Where me.info and priv.key are kept.
  ChecksumKind checksum_kind = ChecksumKind::kCrc32OfCiphertext;
  ChannelOptions channel;
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

  // Reconnects with the identity in `dir`, or registers and leaves one there. AlreadyExists if the
  // server has given the name to somebody else; FailedPrecondition if the identity is of another
  // name.
  absl::Status Start();

  // Sends the file at `path` under `name`, at most three times; only after Start(). DataLoss if the
  // server's checksum was wrong each time; InvalidArgument if the protocol has no room for the name
  // or the file.
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
  absl::StatusOr<Answer> SendContent(absl::string_view name, EncryptedFile& file);
  absl::Status CheckFileAnswer(const Answer& answer, absl::string_view name,
                               const EncryptedFile& file, Transfer& transfer) const;
  absl::Status Report(RequestCode code, absl::string_view name);
  absl::StatusOr<Answer> Ask(absl::string_view request);

  const ConversationOptions options_;
  Channel channel_;
  Sender sender_;
  std::optional<KeyPair> key_pair_;
  std::string session_key_;
};

}  // namespace backup::legacy_client
