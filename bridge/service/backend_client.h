#pragma once

#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "base/byte_stream.h"
#include "bridge/service/backend_channels.h"
#include "bridge/service/backend_options.h"
#include "bridge/service/call.h"
#include "bridge/service/methods.h"
#include "bridge/upload/spooled_body.h"
#include "bridge/upload/upload_scheduler.h"
#include "rpc/upload_call.h"

namespace backup::bridge {

// A file of at most this size goes in one message: methods::UploadWholeFile.
inline constexpr int64_t kMaxWholeFileSize = 64 << 10;

// The service as the bridge sees it: typed calls with deadlines, tried again while the service is
// unavailable (they are idempotent, and uploads carry an id). Thread-safe.
class BackendClient {
 public:
  BackendClient(const BackendChannels& channels, BackendOptions options);
  // Waits until no call is in flight: gRPC must not end a channel on a thread of its own.
  ~BackendClient();

  // Calls `Method` and returns at once. `done` gets what came of it, on the channels' queue, which
  // it must not block: Unavailable if the service was so for too long. `origin` must live until
  // then.
  template <typename Method>
  void Invoke(const CallOrigin& origin, typename Method::Request request,
              std::function<void(absl::StatusOr<typename Method::Response>)> done,
              Policy policy = Policy::kRideThrough) {
    Call<Method>::Start(environment_, origin, std::move(request), policy, std::move(done));
  }

  // Streams `body`, which must yield what the header announces, and waits for the answer. If the
  // body fails, the call is cancelled and the body's error returned as it is.
  absl::StatusOr<v1::UploadFileResponse> UploadFile(const CallOrigin& origin,
                                                    const v1::UploadFileHeader& header,
                                                    ByteSource& body);

  // How long a call takes at most that is no upload.
  absl::Duration longest_call() const;
  // Tells what became of calls.
  rpc::CompletionQueue& queue() { return *environment_.queue; }

 private:
  absl::StatusOr<v1::UploadFileResponse> TryUpload(const CallOrigin& origin,
                                                   const v1::UploadFileHeader& header,
                                                   SpooledBody& body);

  CallEnvironment environment_;
  const rpc::UploadMethod upload_;
  SpoolBudget spool_budget_;
  UploadScheduler scheduler_;
};

}  // namespace backup::bridge
