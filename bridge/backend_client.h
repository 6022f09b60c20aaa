#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "backup/v1/backup.grpc.pb.h"
#include "base/byte_stream.h"
#include "base/mutex.h"
#include "bridge/body_turns.h"
#include "bridge/bridge_metrics.h"
#include "bridge/call_queue.h"
#include "bridge/upload_call.h"
#include "grpcpp/channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"

namespace backup::bridge {

// Who asks: sent along with every call, for the service's log.
struct CallOrigin {
  std::string request_id;
  std::string upload_id;  // If it uploads: the same however often that is tried. UUID text.
  std::string peer;
  std::string connection;
  std::string request;  // As it was decoded; for whoever traces the client.
};

struct BackendOptions {
  // How long a call that meets a restarting service is tried again.
  absl::Duration ride_through = absl::Seconds(30);
  // How much of a file is kept so that its upload can be tried again; a longer one cannot.
  size_t spool_bytes = size_t{4} << 20;
  // How much all uploads keep together; while that is used up, further ones cannot be tried again.
  size_t total_spool_bytes = size_t{64} << 20;
  // Once requested, calls in flight are cancelled and nothing is tried again.
  std::stop_token give_up = {};
  BridgeMetrics metrics = {};
};

// Two channels to one service, each with connections of its own: what is small does not wait behind
// what is large, nor is it handled by whichever thread waits for the large.
struct BackendChannels {
  std::shared_ptr<grpc::Channel> calls;
  std::shared_ptr<grpc::Channel> bodies;
  // Tells of their calls. Before these end, all that waits for it must have ended.
  std::shared_ptr<CallQueue> queue;
};

// The service as the bridge sees it: typed calls with deadlines, tried again while the service is
// away (they are idempotent, and uploads carry an id). Thread-safe.
class BackendClient {
 public:
  BackendClient(const BackendChannels& channels, BackendOptions options)
      : stub_(v1::IngestService::NewStub(channels.calls)),
        upload_(channels.bodies),
        upload_stub_(channels.calls),
        queue_(channels.queue),
        options_(std::move(options)),
        turns_(BodyTurns::Limits(), options_.metrics.waiting_bodies) {}
  // Waits until no started call is in flight: gRPC must not end a channel on a thread of its own.
  ~BackendClient();

  absl::StatusOr<v1::RegisterClientResponse> RegisterClient(
      const CallOrigin& origin, const v1::RegisterClientRequest& request);
  absl::StatusOr<v1::ExchangeKeyResponse> ExchangeKey(const CallOrigin& origin,
                                                      const v1::ExchangeKeyRequest& request);
  absl::StatusOr<v1::ResumeClientResponse> ResumeClient(const CallOrigin& origin,
                                                        const v1::ResumeClientRequest& request);
  absl::StatusOr<v1::ReportTransferResponse> ReportTransfer(
      const CallOrigin& origin, const v1::ReportTransferRequest& request);
  absl::StatusOr<v1::ObserveClientResponse> ObserveClient(const CallOrigin& origin,
                                                          const v1::ObserveClientRequest& request);
  // Streams `body`, which must yield what the header announces. If the body fails, the
  // call is cancelled and the body's error returned as it is.
  absl::StatusOr<v1::UploadFileResponse> UploadFile(const CallOrigin& origin,
                                                    const v1::UploadFileHeader& header,
                                                    ByteSource& body);

  // The same calls, started only, and tried only once. `done` gets what came of it, on the
  // channels' queue, which it must not block: Unavailable if the service is away. After the call's
  // deadline at the latest.
  template <typename Response>
  using Done = std::function<void(absl::StatusOr<Response>)>;
  void Start(const CallOrigin& origin, const v1::RegisterClientRequest& request,
             Done<v1::RegisterClientResponse> done);
  void Start(const CallOrigin& origin, const v1::ExchangeKeyRequest& request,
             Done<v1::ExchangeKeyResponse> done);
  void Start(const CallOrigin& origin, const v1::ResumeClientRequest& request,
             Done<v1::ResumeClientResponse> done);
  void Start(const CallOrigin& origin, const v1::ReportTransferRequest& request,
             Done<v1::ReportTransferResponse> done);
  void Start(const CallOrigin& origin, const v1::ObserveClientRequest& request,
             Done<v1::ObserveClientResponse> done);
  // A whole file: its header with all its content as the first chunk.
  void Start(const CallOrigin& origin, const v1::UploadFileRequest& request,
             Done<v1::UploadFileResponse> done);

  // How many started calls there are. Outlives the client by as long as the last of them needs to
  // say that it is gone. Thread-safe.
  class Started {
   public:
    void Add();
    void Remove();
    void WaitUntilNone();

   private:
    Mutex mutex_;
    CondVar none_;
    int count_ ABSL_GUARDED_BY(mutex_) = 0;
  };

 private:
  // Starts the call and waits for it, again while the service is away.
  template <typename Response, typename Request>
  absl::StatusOr<Response> StartAndWait(const CallOrigin& origin, const Request& request);

  const std::shared_ptr<Started> started_ = std::make_shared<Started>();
  const std::unique_ptr<v1::IngestService::Stub> stub_;
  const UploadMethod upload_;
  // A stream of one message is, on the wire, a unary call.
  grpc::TemplatedGenericStub<v1::UploadFileRequest, v1::UploadFileResponse> upload_stub_;
  const std::shared_ptr<CallQueue> queue_;
  const BackendOptions options_;
  std::atomic<size_t> spooled_bytes_ = 0;  // By all uploads in flight.
  BodyTurns turns_;
};

// Channels to `target`, any gRPC target, that reconnect quickly; the addresses behind a dns:///
// one are used in turn.
// `server_name` is the name in the service's certificate; empty: the target's.
BackendChannels MakeBackendChannels(const std::string& target,
                                    const std::shared_ptr<grpc::ChannelCredentials>& credentials =
                                        grpc::InsecureChannelCredentials(),
                                    const std::string& server_name = "");

}  // namespace backup::bridge
