#pragma once

#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "legacy_client/families.h"
#include "legacy_client/frames.h"
#include "legacy_client/legacy_socket.h"
#include "legacy_client/transfer_info.h"

namespace backup::legacy_client {

enum class ConnectionUse { kPerRequest, kSingle };

// Whether a retry notice is waited upon before the file is sent again.
enum class RetryNotice { kWait, kAtOnce };

struct ChannelOptions {
  Endpoint server;
  ConnectionUse connection_use = ConnectionUse::kPerRequest;
  absl::Duration timeout = absl::Seconds(30);  // For the server to move a byte.
  Family family = Family::kC;                  // Whose answers are read.
  RetryNotice retry_notice = RetryNotice::kWait;
  bool blocks_1024 = false;      // Requests and answers are padded to a multiple of 1024 bytes.
  bool server_hangs_up = false;  // After each answer the server must close the connection.
};

// Requests to the server and their answers, over as many connections as it takes. Statuses are
// those of LegacySocket, and DataLoss for what is not an answer. Used by one thread at a time.
class Channel {
 public:
  explicit Channel(ChannelOptions options) : options_(std::move(options)) {}

  // Sends a whole request and reads its answer.
  absl::StatusOr<Answer> Ask(absl::string_view request);

  // Sends the file request or requests that `request` yields, and reads their one answer. An error
  // of `request` is returned as it is. `on_piece` is called after each piece sent.
  absl::StatusOr<Answer> AskWithContent(ByteSource& request, absl::FunctionRef<void()> on_piece);

  // Sends a retry notice; a file request must follow. With kAtOnce the notice is not waited upon:
  // the server leaves its answer out when the file follows at once, and a late one is not taken for
  // the file's. With kWait its answer, or the server's hanging up, is waited for: with a connection
  // per request the file on its own connection could overtake the notice and be discarded by it.
  absl::Status NotifyOfRetry(absl::string_view request);

 private:
  absl::Status EnsureConnected();
  absl::StatusOr<Answer> ReadAnswer();
  absl::StatusOr<Answer> ReadOneAnswer();
  absl::Status SendWhole(absl::string_view request);
  absl::Status SendAll(ByteSource& request, absl::FunctionRef<void()> on_piece,
                       absl::Status& of_request);
  absl::StatusOr<Answer> Conclude(const absl::Status& sent);
  void Disconnect();

  const ChannelOptions options_;
  std::optional<LegacySocket> socket_;
  bool notice_is_open_ = false;  // A retry notice on this connection may still be answered.
};

}  // namespace backup::legacy_client
