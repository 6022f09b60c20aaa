#include "bridge/backend_client.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/rpc/status.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace backup::bridge {
namespace {

using std::chrono::steady_clock;

constexpr absl::Duration kUnaryDeadline = absl::Seconds(5);
// An upload may take this long, and more with its size at the least rate.
constexpr absl::Duration kStreamDeadline = absl::Seconds(60);
constexpr int64_t kLeastBytesPerSecond = 1024;
constexpr std::chrono::milliseconds kFirstBackOff(50);
constexpr std::chrono::milliseconds kLongestBackOff(200);

void Prepare(grpc::ClientContext& context, const CallOrigin& origin, absl::Duration deadline) {
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(deadline));
  context.AddMetadata("x-request-id", origin.request_id);
  context.AddMetadata("x-legacy-peer", origin.peer);
  context.AddMetadata("x-legacy-connection", origin.connection);
}

// Calls `attempt`, which returns an absl::StatusOr, until it does not say UNAVAILABLE, or `limit`
// has passed, or `may_repeat` says no.
template <typename Attempt, typename MayRepeat>
auto RideThrough(absl::Duration limit, const Attempt& attempt, const MayRepeat& may_repeat) {
  const auto end = steady_clock::now() + absl::ToChronoMilliseconds(limit);
  auto back_off = kFirstBackOff;
  while (true) {
    auto result = attempt();
    if (!absl::IsUnavailable(result.status()) || steady_clock::now() + back_off > end ||
        !may_repeat())
      return result;
    VLOG(1) << "the service is away, trying again: " << result.status().message();
    std::this_thread::sleep_for(back_off);
    back_off = std::min(2 * back_off, kLongestBackOff);
  }
}

template <typename Response, typename Call>
absl::StatusOr<Response> CallUnary(const CallOrigin& origin, absl::Duration ride_through,
                                   const Call& call) {
  return RideThrough(
      ride_through,
      [&]() -> absl::StatusOr<Response> {
        grpc::ClientContext context;
        Prepare(context, origin, kUnaryDeadline);
        Response response;
        RETURN_IF_ERROR(rpc::FromGrpc(call(context, response)));
        return response;
      },
      [] { return true; });
}

// A body whose beginning can be read again: what was read is kept as long as it fits.
class SpooledBody {
 public:
  SpooledBody(ByteSource& source, size_t limit) : source_(source), limit_(limit) {}

  // From the beginning again. Only while can_restart().
  void Restart() { replay_at_ = 0; }
  bool can_restart() const { return fits_ && status_.ok(); }
  // An error of the body itself, as against one of the call.
  const absl::Status& status() const { return status_; }

  absl::StatusOr<absl::string_view> Read() {
    if (replay_at_ < spool_.size()) {
      const absl::string_view piece = absl::string_view(spool_).substr(replay_at_, kPieceSize);
      replay_at_ += piece.size();
      return piece;
    }
    const absl::StatusOr<absl::string_view> piece = source_.Read();
    status_ = piece.status();
    if (!piece.ok()) return piece;
    if (fits_ && spool_.size() + piece->size() <= limit_) {
      spool_.append(piece->data(), piece->size());
      replay_at_ = spool_.size();
    } else if (!piece->empty()) {
      fits_ = false;
      spool_ = std::string();
      replay_at_ = 0;
    }
    return piece;
  }

 private:
  ByteSource& source_;
  const size_t limit_;
  std::string spool_;
  size_t replay_at_ = 0;
  bool fits_ = true;
  absl::Status status_;
};

absl::StatusOr<v1::UploadFileResponse> UploadOnce(v1::IngestService::StubInterface& stub,
                                                  const CallOrigin& origin,
                                                  const v1::UploadFileHeader& header,
                                                  SpooledBody& body) {
  grpc::ClientContext context;
  Prepare(context, origin,
          kStreamDeadline + absl::Seconds(header.encoded_size() / kLeastBytesPerSecond));
  v1::UploadFileResponse response;
  const auto stream = stub.UploadFile(&context, &response);
  v1::UploadFileRequest message;
  *message.mutable_header() = header;
  bool writing = stream->Write(message);
  while (writing) {
    const absl::StatusOr<absl::string_view> piece = body.Read();
    if (!piece.ok()) {
      context.TryCancel();
      static_cast<void>(stream->Finish());
      return piece.status();
    }
    if (piece->empty()) {
      stream->WritesDone();
      break;
    }
    message.set_chunk(piece->data(), piece->size());
    writing = stream->Write(message);
  }
  RETURN_IF_ERROR(rpc::FromGrpc(stream->Finish()));
  return response;
}

}  // namespace

absl::StatusOr<v1::RegisterClientResponse> BackendClient::RegisterClient(
    const CallOrigin& origin, const v1::RegisterClientRequest& request) {
  return CallUnary<v1::RegisterClientResponse>(
      origin, options_.ride_through, [&](grpc::ClientContext& context, auto& response) {
        return stub_.RegisterClient(&context, request, &response);
      });
}

absl::StatusOr<v1::ExchangeKeyResponse> BackendClient::ExchangeKey(
    const CallOrigin& origin, const v1::ExchangeKeyRequest& request) {
  return CallUnary<v1::ExchangeKeyResponse>(
      origin, options_.ride_through, [&](grpc::ClientContext& context, auto& response) {
        return stub_.ExchangeKey(&context, request, &response);
      });
}

absl::StatusOr<v1::ResumeClientResponse> BackendClient::ResumeClient(
    const CallOrigin& origin, const v1::ResumeClientRequest& request) {
  return CallUnary<v1::ResumeClientResponse>(
      origin, options_.ride_through, [&](grpc::ClientContext& context, auto& response) {
        return stub_.ResumeClient(&context, request, &response);
      });
}

absl::StatusOr<v1::ReportTransferResponse> BackendClient::ReportTransfer(
    const CallOrigin& origin, const v1::ReportTransferRequest& request) {
  return CallUnary<v1::ReportTransferResponse>(
      origin, options_.ride_through, [&](grpc::ClientContext& context, auto& response) {
        return stub_.ReportTransfer(&context, request, &response);
      });
}

absl::StatusOr<v1::UploadFileResponse> BackendClient::UploadFile(const CallOrigin& origin,
                                                                 const v1::UploadFileHeader& header,
                                                                 ByteSource& body) {
  SpooledBody spooled(body, options_.spool_bytes);
  return RideThrough(
      options_.ride_through,
      [&] {
        spooled.Restart();
        return UploadOnce(stub_, origin, header, spooled);
      },
      [&] { return spooled.can_restart(); });
}

std::shared_ptr<grpc::Channel> MakeBackendChannel(const std::string& target) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // RideThrough() does it, uploads included.
  args.SetLoadBalancingPolicyName("round_robin");
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), args);
}

}  // namespace backup::bridge
