#include "bridge/service/backend_client.h"

#include <optional>

#include "base/periodic_task.h"
#include "base/status_macros.h"
#include "bridge/service/ride_through.h"
#include "bridge/upload/low_priority_source.h"
#include "bridge/upload/scheduled_source.h"

namespace backup::bridge {
namespace {

// Writes header and body; an error only if the body fails. That the call is over shows at its end.
absl::Status WriteUpload(rpc::UploadCall& call, const v1::UploadFileHeader& header,
                         SpooledBody& body) {
  bool writing = call.WriteHeader(header);  // Alone, since the service may refuse it.
  while (writing) {
    ASSIGN_OR_RETURN(SharedPiece piece, body.Read());
    if (piece.bytes.empty()) {
      call.WritesDone();
      break;
    }
    writing = call.WriteChunk(std::move(piece));
  }
  return absl::OkStatus();
}

}  // namespace

BackendClient::BackendClient(const BackendChannels& channels, BackendOptions options)
    : environment_(channels.calls, channels.queue, std::move(options)),
      upload_(channels.bodies),
      spool_budget_(environment_.options.total_spool_bytes,
                    environment_.options.metrics.spool_bytes),
      scheduler_(UploadScheduler::Limits(), environment_.options.metrics.waiting_bodies) {}

BackendClient::~BackendClient() { environment_.in_flight->WaitUntilNone(); }

absl::Duration BackendClient::longest_call() const {
  // The first try, which finds that the service is unavailable, and the last one.
  return environment_.options.ride_through + 2 * methods::kUnaryDeadline;
}

absl::StatusOr<v1::UploadFileResponse> BackendClient::UploadFile(const CallOrigin& origin,
                                                                 const v1::UploadFileHeader& header,
                                                                 ByteSource& body) {
  const BackendOptions& options = environment_.options;
  ScheduledSource scheduled(scheduler_, body, header.encoded_size());
  LowPrioritySource low_priority(scheduled);
  SpooledBody spooled(low_priority, options.spool_bytes, spool_budget_);
  RideThrough ride_through(options);
  while (true) {
    spooled.Restart();
    absl::StatusOr<v1::UploadFileResponse> result = TryUpload(origin, header, spooled);
    const std::optional<absl::Duration> delay =
        ride_through.NextDelay(result.status(), spooled.can_restart());
    if (!delay) return result;
    if (!WaitFor(options.give_up, *delay)) {
      ride_through.GiveUp();
      return result;
    }
  }
}

// An error of the body cancels the call and is returned as it is.
absl::StatusOr<v1::UploadFileResponse> BackendClient::TryUpload(const CallOrigin& origin,
                                                                const v1::UploadFileHeader& header,
                                                                SpooledBody& body) {
  const BackendOptions& options = environment_.options;
  const CountedTry counted(options.metrics, methods::UploadWholeFile::kName);
  grpc::ClientContext context;
  PrepareContext(context, origin, UploadDeadline(header));
  const std::stop_callback cancel(options.give_up, [&] { context.TryCancel(); });
  rpc::UploadCall call(upload_, context);
  const absl::Status written = WriteUpload(call, header, body);
  if (!written.ok()) context.TryCancel();
  absl::StatusOr<v1::UploadFileResponse> result = call.Finish();
  if (!written.ok()) result = written;
  counted.End(result.status());
  return result;
}

}  // namespace backup::bridge
