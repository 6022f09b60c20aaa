#include "bridge/backend_client.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/bulk_thread.h"
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
constexpr absl::Duration kStreamDeadline = absl::Seconds(30);
constexpr int64_t kLeastBytesPerSecond = 1024;
// What an upload in segments, whose size only its end tells, may have: 32 bits count it in the
// legacy protocol.
constexpr int64_t kMaxSegmentedSize = int64_t{1} << 32;
// A file of at most so many bytes goes in one message.
constexpr int64_t kMaxSingleMessageSize = 64 << 10;
// What a kept piece takes beside its bytes, more or less: a slow client makes many small ones.
constexpr size_t kPieceOverhead = 128;
constexpr char kUpload[] = "UploadFile";
constexpr std::chrono::milliseconds kFirstBackOff(50);
constexpr std::chrono::milliseconds kLongestBackOff(200);

void Prepare(grpc::ClientContext& context, const CallOrigin& origin, absl::Duration deadline) {
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(deadline));
  context.AddMetadata("x-request-id", origin.request_id);
  context.AddMetadata("x-legacy-peer", origin.peer);
  context.AddMetadata("x-legacy-connection", origin.connection);
  context.AddMetadata("x-legacy-request-bin", origin.request);
}

// False if `token` was stopped before `duration` had passed.
bool SleepFor(std::chrono::milliseconds duration, const std::stop_token& token) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock<std::mutex> lock(mutex);
  never.wait_for(lock, token, duration, [] { return false; });
  return !token.stop_requested();
}

// Counts one try of a call, from its beginning.
class Attempt {
 public:
  Attempt(const BridgeMetrics& metrics, absl::string_view method)
      : metrics_(metrics), method_(method), begin_(steady_clock::now()) {
    metrics_.attempts_started.With({method_}).Add();
  }
  void End(const absl::Status& result) const {
    const std::optional<Reason> reason = ReasonOf(result);
    metrics_.attempt_duration
        .With({method_, reason ? InfoOf(*reason).name
                               : absl::string_view(absl::StatusCodeToString(result.code()))})
        .Observe(absl::FromChrono(steady_clock::now() - begin_));
  }

 private:
  const BridgeMetrics& metrics_;
  const absl::string_view method_;
  const steady_clock::time_point begin_;
};

// Whether the call met no service, or one that ends: an older one lets gRPC 1.51 cancel the calls
// that it took in but did not begin.
bool IsAway(const absl::Status& status, const BackendOptions& options) {
  return absl::IsUnavailable(status) ||
         (absl::IsCancelled(status) && !options.give_up.stop_requested());
}

// Calls `attempt`, which returns an absl::StatusOr, until the service is not away, the ride-through
// since it was first found away has passed, or `may_repeat` says no.
template <typename Attempt, typename MayRepeat>
auto RideThrough(const BackendOptions& options, const Attempt& attempt,
                 const MayRepeat& may_repeat) {
  const auto ride_through = absl::ToChronoMilliseconds(options.ride_through);
  auto back_off = kFirstBackOff;
  std::optional<steady_clock::time_point> away_since;
  const auto count = [&](absl::string_view outcome) {
    options.metrics.ride_throughs.With({outcome}).Add();
    options.metrics.ride_through_duration.Observe(
        absl::FromChrono(steady_clock::now() - *away_since));
  };
  while (true) {
    auto result = attempt();
    if (!IsAway(result.status(), options)) {
      if (away_since) count("recovered");
      return result;
    }
    // Not since the call began: a slow upload may have gone on for longer.
    if (!away_since) away_since = steady_clock::now();
    if (!may_repeat()) {
      count("not_repeatable");
      return result;
    }
    if (steady_clock::now() + back_off > *away_since + ride_through ||
        !SleepFor(back_off, options.give_up)) {
      count("gave_up");
      return result;
    }
    VLOG(1) << "the service is away, trying again: " << result.status();
    back_off = std::min(2 * back_off, kLongestBackOff);
  }
}

// A call that was started, until it is done: it deletes itself then.
template <typename Response>
class StartedCall final : public CallQueue::Event {
 public:
  // `prepare` makes the call, of which the context is given to it.
  template <typename PrepareCall>
  static void Start(std::shared_ptr<BackendClient::Started> started, const BackendOptions& options,
                    absl::string_view method, const CallOrigin& origin, absl::Duration deadline,
                    BackendClient::Done<Response> done, const PrepareCall& prepare) {
    started->Add();
    auto* const call = new StartedCall(std::move(started), options, method, std::move(done));
    Prepare(call->context_, origin, deadline);
    call->cancel_.emplace(options.give_up, Cancel{call->context_});
    call->reader_ = prepare(&call->context_);
    call->reader_->StartCall();
    call->reader_->Finish(&call->response_, &call->status_, call->Tag());
  }

  void Happen() override {
    const absl::Status result = rpc::FromGrpc(status_);
    attempt_.End(result);
    if (IsAway(result, options_))
      done_(absl::UnavailableError(result.message()));
    else if (result.ok())
      done_(std::move(response_));
    else
      done_(result);
    const std::shared_ptr<BackendClient::Started> started = std::move(started_);
    delete this;
    started->Remove();
  }

 private:
  struct Cancel {
    grpc::ClientContext& context;
    void operator()() const { context.TryCancel(); }
  };

  StartedCall(std::shared_ptr<BackendClient::Started> started, const BackendOptions& options,
              absl::string_view method, BackendClient::Done<Response> done)
      : started_(std::move(started)),
        options_(options),
        attempt_(options.metrics, method),
        done_(std::move(done)) {}

  std::shared_ptr<BackendClient::Started> started_;
  const BackendOptions& options_;  // Of the client, which waits for this.
  const Attempt attempt_;
  grpc::ClientContext context_;
  Response response_;
  grpc::Status status_;
  BackendClient::Done<Response> done_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader_;
  std::optional<std::stop_callback<Cancel>> cancel_;
};

// Room for spooled bytes, out of `used`, which all uploads share. Given back at the end of its
// life.
class SpoolRoom {
 public:
  SpoolRoom(std::atomic<size_t>& used, size_t total, Gauge gauge)
      : used_(used), total_(total), gauge_(gauge) {}
  ~SpoolRoom() { GiveBack(); }
  SpoolRoom(const SpoolRoom&) = delete;
  SpoolRoom& operator=(const SpoolRoom&) = delete;

  bool Take(size_t size) {
    taken_ += size;
    gauge_.Add(static_cast<double>(size));
    return used_.fetch_add(size) + size <= total_;
  }
  void GiveBack() {
    gauge_.Add(-static_cast<double>(taken_));
    used_.fetch_sub(std::exchange(taken_, 0));
  }

 private:
  std::atomic<size_t>& used_;
  const size_t total_;
  const Gauge gauge_;
  size_t taken_ = 0;
};

// A body whose beginning can be read again: what was read is kept as long as it fits.
class SpooledBody {
 public:
  // Keeps at most `limit` bytes, and only while `room` has place.
  SpooledBody(ByteSource& source, size_t limit, SpoolRoom& room)
      : source_(source), limit_(limit), room_(room) {}

  // From the beginning again. Only while can_restart().
  void Restart() { replay_at_ = 0; }
  bool can_restart() const { return fits_ && status_.ok(); }

  // An empty piece at the end.
  absl::StatusOr<SharedPiece> Read() {
    if (replay_at_ < spool_.size()) return spool_[replay_at_++];
    const absl::StatusOr<absl::string_view> bytes = source_.Read();
    status_ = bytes.status();
    if (!bytes.ok()) return status_;
    if (bytes->empty()) return SharedPiece();
    SharedPiece piece = source_.Share(*bytes);
    if (fits_) Keep(piece);
    return piece;
  }

 private:
  void Keep(const SharedPiece& piece) {
    size_bytes_ += piece.bytes.size();
    fits_ = size_bytes_ <= limit_ && room_.Take(piece.buffer_size + kPieceOverhead);
    if (fits_) {
      spool_.push_back(piece);
    } else {
      spool_.clear();
      spool_.shrink_to_fit();
      room_.GiveBack();
    }
    replay_at_ = spool_.size();
  }

  ByteSource& source_;
  const size_t limit_;
  SpoolRoom& room_;
  std::vector<SharedPiece> spool_;  // The pieces that were read so far, if they fit,
  size_t size_bytes_ = 0;           // with so many bytes.
  size_t replay_at_ = 0;
  bool fits_ = true;
  absl::Status status_;
};

// Only the end of the stream tells how large it is then.
bool InSegments(const v1::UploadFileHeader& header) {
  return header.encoding() == v1::UploadFileHeader::AES_CBC_ZERO_IV_SEGMENTS;
}

// How long the upload of a file may take.
absl::Duration UploadDeadline(const v1::UploadFileHeader& header) {
  const int64_t size = InSegments(header) ? kMaxSegmentedSize : header.encoded_size();
  return kStreamDeadline + absl::Seconds(size / kLeastBytesPerSecond);
}

// Writes header and body; an error only if the body fails. That the call is over shows at its end.
absl::Status WriteUpload(UploadCall& call, const v1::UploadFileHeader& header, SpooledBody& body,
                         BodyTurns& turns) {
  bool writing = call.WriteHeader(header);  // Alone, since the service may refuse it.
  int64_t written = 0;
  BodyPace pace(turns, header.encoded_size());
  while (writing) {
    pace.BeforeRead();
    ASSIGN_OR_RETURN(SharedPiece piece, body.Read());
    pace.AfterRead(piece.bytes.size());
    if (piece.bytes.empty()) {
      call.WritesDone();
      break;
    }
    written += static_cast<int64_t>(piece.bytes.size());
    writing = call.WriteChunk(std::move(piece));
    if (written >= kBulkMinSize) BecomeBulkThread();
  }
  return absl::OkStatus();
}

// One try of an upload. An error of the body cancels the call and is returned as it is.
absl::StatusOr<v1::UploadFileResponse> UploadOnce(const UploadMethod& method,
                                                  const CallOrigin& origin,
                                                  const v1::UploadFileHeader& header,
                                                  const BackendOptions& options, SpooledBody& body,
                                                  BodyTurns& turns) {
  const Attempt attempt(options.metrics, kUpload);
  grpc::ClientContext context;
  Prepare(context, origin, UploadDeadline(header));
  const std::stop_callback cancel(options.give_up, [&] { context.TryCancel(); });
  UploadCall call(method, context);
  const absl::Status written = WriteUpload(call, header, body, turns);
  if (!written.ok()) context.TryCancel();
  absl::StatusOr<v1::UploadFileResponse> result = call.Finish();
  if (!written.ok()) result = written;
  attempt.End(result.status());
  return result;
}

}  // namespace

void BackendClient::Started::Add() {
  MutexLock lock(mutex_);
  ++count_;
}

void BackendClient::Started::Remove() {
  MutexLock lock(mutex_);
  if (--count_ == 0) none_.NotifyAll();
}

void BackendClient::Started::WaitUntilNone() {
  MutexLock lock(mutex_);
  while (count_ > 0) none_.Wait(mutex_);
}

BackendClient::~BackendClient() { started_->WaitUntilNone(); }

template <typename Response, typename Request>
absl::StatusOr<Response> BackendClient::StartAndWait(const CallOrigin& origin,
                                                     const Request& request) {
  const auto attempt = [&]() -> absl::StatusOr<Response> {
    // Shared, because the one who sets it may not be done with it when it is there.
    const auto result = std::make_shared<std::promise<absl::StatusOr<Response>>>();
    Start(origin, request,
          [result](absl::StatusOr<Response> response) { result->set_value(std::move(response)); });
    return result->get_future().get();  // The call has a deadline.
  };
  return RideThrough(options_, attempt, [] { return true; });
}

absl::StatusOr<v1::RegisterClientResponse> BackendClient::RegisterClient(
    const CallOrigin& origin, const v1::RegisterClientRequest& request) {
  return StartAndWait<v1::RegisterClientResponse>(origin, request);
}

absl::StatusOr<v1::ExchangeKeyResponse> BackendClient::ExchangeKey(
    const CallOrigin& origin, const v1::ExchangeKeyRequest& request) {
  return StartAndWait<v1::ExchangeKeyResponse>(origin, request);
}

absl::StatusOr<v1::ResumeClientResponse> BackendClient::ResumeClient(
    const CallOrigin& origin, const v1::ResumeClientRequest& request) {
  return StartAndWait<v1::ResumeClientResponse>(origin, request);
}

absl::StatusOr<v1::ReportTransferResponse> BackendClient::ReportTransfer(
    const CallOrigin& origin, const v1::ReportTransferRequest& request) {
  return StartAndWait<v1::ReportTransferResponse>(origin, request);
}

absl::StatusOr<v1::ObserveClientResponse> BackendClient::ObserveClient(
    const CallOrigin& origin, const v1::ObserveClientRequest& request) {
  return StartAndWait<v1::ObserveClientResponse>(origin, request);
}

absl::StatusOr<v1::UploadFileResponse> BackendClient::UploadFile(const CallOrigin& origin,
                                                                 const v1::UploadFileHeader& header,
                                                                 ByteSource& body) {
  if (!InSegments(header) && header.encoded_size() <= kMaxSingleMessageSize) {
    v1::UploadFileRequest whole;
    *whole.mutable_header() = header;
    ASSIGN_OR_RETURN(*whole.mutable_header()->mutable_first_chunk(),
                     ReadAll(body, kMaxSingleMessageSize));
    return StartAndWait<v1::UploadFileResponse>(origin, whole);
  }
  SpoolRoom room(spooled_bytes_, options_.total_spool_bytes, options_.metrics.spool_bytes);
  SpooledBody spooled(body, options_.spool_bytes, room);
  const auto attempt = [&] {
    spooled.Restart();
    return UploadOnce(upload_, origin, header, options_, spooled, turns_);
  };
  return RideThrough(options_, attempt, [&] { return spooled.can_restart(); });
}

void BackendClient::Start(const CallOrigin& origin, const v1::RegisterClientRequest& request,
                          Done<v1::RegisterClientResponse> done) {
  StartedCall<v1::RegisterClientResponse>::Start(
      started_, options_, "RegisterClient", origin, kUnaryDeadline, std::move(done),
      [&](grpc::ClientContext* context) {
        return stub_->PrepareAsyncRegisterClient(context, request, &queue_->completions());
      });
}

void BackendClient::Start(const CallOrigin& origin, const v1::ExchangeKeyRequest& request,
                          Done<v1::ExchangeKeyResponse> done) {
  StartedCall<v1::ExchangeKeyResponse>::Start(
      started_, options_, "ExchangeKey", origin, kUnaryDeadline, std::move(done),
      [&](grpc::ClientContext* context) {
        return stub_->PrepareAsyncExchangeKey(context, request, &queue_->completions());
      });
}

void BackendClient::Start(const CallOrigin& origin, const v1::ResumeClientRequest& request,
                          Done<v1::ResumeClientResponse> done) {
  StartedCall<v1::ResumeClientResponse>::Start(
      started_, options_, "ResumeClient", origin, kUnaryDeadline, std::move(done),
      [&](grpc::ClientContext* context) {
        return stub_->PrepareAsyncResumeClient(context, request, &queue_->completions());
      });
}

void BackendClient::Start(const CallOrigin& origin, const v1::ReportTransferRequest& request,
                          Done<v1::ReportTransferResponse> done) {
  StartedCall<v1::ReportTransferResponse>::Start(
      started_, options_, "ReportTransfer", origin, kUnaryDeadline, std::move(done),
      [&](grpc::ClientContext* context) {
        return stub_->PrepareAsyncReportTransfer(context, request, &queue_->completions());
      });
}

void BackendClient::Start(const CallOrigin& origin, const v1::ObserveClientRequest& request,
                          Done<v1::ObserveClientResponse> done) {
  StartedCall<v1::ObserveClientResponse>::Start(
      started_, options_, "ObserveClient", origin, kUnaryDeadline, std::move(done),
      [&](grpc::ClientContext* context) {
        return stub_->PrepareAsyncObserveClient(context, request, &queue_->completions());
      });
}

void BackendClient::Start(const CallOrigin& origin, const v1::UploadFileRequest& request,
                          Done<v1::UploadFileResponse> done) {
  StartedCall<v1::UploadFileResponse>::Start(
      started_, options_, kUpload, origin, UploadDeadline(request.header()), std::move(done),
      [&](grpc::ClientContext* context) {
        return upload_stub_.PrepareUnaryCall(context, UploadMethod::kPath, request,
                                             &queue_->completions());
      });
}

// A backend that drains is left alone at once; the others behind a dns:/// target are used in turn.
constexpr char kServiceConfig[] = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": "backup.v1.IngestService"}
})";

BackendChannels MakeBackendChannels(const std::string& target,
                                    const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                    const std::string& server_name) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // Connections of its own for each channel.
  args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // It costs memory and gains nothing with large pieces.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // A service that was made anew may have another address; unset, it is asked for after 30 s only.
  args.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1'000);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // RideThrough() does it, uploads included.
  args.SetServiceConfigJSON(kServiceConfig);
  if (!server_name.empty()) args.SetSslTargetNameOverride(server_name);
  return {grpc::CreateCustomChannel(target, credentials, args),
          grpc::CreateCustomChannel(target, credentials, args), std::make_shared<CallQueue>()};
}

}  // namespace backup::bridge
