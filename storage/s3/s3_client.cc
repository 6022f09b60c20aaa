#include "storage/s3/s3_client.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/status_macros.h"
#include "crypto/random.h"
#include "glog/logging.h"

namespace backup::storage::s3 {
namespace {

// 2^20 of any first wait is more than any max_wait.
constexpr int kMaxDoublings = 20;
// Of HTTP.
constexpr int kRequestTimeout = 408;
// A store that is busy for a moment is nothing to tell of.
constexpr int kQuietRepetitions = 3;
constexpr double kComplaintSeconds = 10;

struct OperationInfo {
  absl::string_view name;   // The value of the metrics' label.
  absl::string_view doing;  // For messages.
  absl::string_view right;  // As policies of S3 name it.
  HttpRequest::Method method;
};

OperationInfo InfoOf(Operation operation) {
  using Method = HttpRequest::Method;
  switch (operation) {
    case Operation::kPut:
      return {"put", "store an object", "s3:PutObject", Method::kPut};
    case Operation::kGet:
      return {"get", "read an object", "s3:GetObject", Method::kGet};
    case Operation::kHead:
      return {"head", "tell an object's size", "s3:GetObject", Method::kHead};
    case Operation::kDelete:
      return {"delete", "delete an object", "s3:DeleteObject", Method::kDelete};
    case Operation::kList:
      return {"list", "list objects", "s3:ListBucket", Method::kGet};
    case Operation::kBeginUpload:
      return {"begin_upload", "begin an upload of parts", "s3:PutObject", Method::kPost};
    case Operation::kPutPart:
      return {"put_part", "store a part", "s3:PutObject", Method::kPut};
    case Operation::kCompleteUpload:
      return {"complete_upload", "complete an upload of parts", "s3:PutObject", Method::kPost};
    case Operation::kAbortUpload:
      return {"abort_upload", "abort an upload of parts", "s3:AbortMultipartUpload",
              Method::kDelete};
    case Operation::kListUploads:
      return {"list_uploads", "list uploads of parts", "s3:ListBucketMultipartUploads",
              Method::kGet};
  }
  return {};
}

// In [0, 1).
double Random() {
  uint64_t bits = 0;
  std::memcpy(&bits, crypto::RandomBytes(sizeof(bits)).data(), sizeof(bits));
  return std::ldexp(static_cast<double>(bits >> 11), -53);
}

int64_t BytesOf(const S3Request& request) {
  size_t bytes = request.out.size();
  for (const absl::string_view part : request.body) bytes += part.size();
  return static_cast<int64_t>(bytes);
}

HttpTransport::Timeouts TimeoutsOf(const RetryPolicy& policy, const S3Request& request) {
  const absl::Duration each =
      policy.timeout + absl::Seconds(BytesOf(request) / policy.least_bytes_per_second);
  return {.tries = policy.timeout, .each = each, .all = 2 * each};
}

}  // namespace

absl::Duration WaitBefore(const RetryPolicy& policy, int repetition, double random) {
  const double doubled = std::ldexp(1.0, std::min(repetition, kMaxDoublings));
  return std::min(policy.first_wait * doubled, policy.max_wait) * random;
}

S3Call::S3Call(S3Client& client, S3Request request, const RetryPolicy& policy)
    : client_(client),
      request_(std::move(request)),
      policy_(policy),
      credentials_(request_.credentials ? request_.credentials : client.credentials()) {
  Start();
}

S3Call::~S3Call() = default;

void S3Call::Start() {
  HttpRequest http;
  http.method = InfoOf(request_.operation).method;
  http.url = UrlOf(client_.location(), request_.key, request_.query);
  http.headers = request_.headers;
  http.body = request_.body;
  http.body_sha256 = request_.body_sha256;
  http.credentials = credentials_;
  http.out = request_.out;
  http.is_slow = request_.operation == Operation::kCompleteUpload;
  // A second upload that nobody knows of would never be ended.
  http.is_sent_once = request_.operation == Operation::kBeginUpload;
  http.is_ending = request_.is_ending;
  exchange_ = client_.transport_->Start(std::move(http), TimeoutsOf(policy_, request_),
                                        [this](const HttpAnswer& answer) { return Judge(answer); });
}

bool S3Call::IsGood(const HttpAnswer& answer) const {
  return answer.transport.ok() && answer.status / 100 == 2 &&
         !(request_.operation == Operation::kCompleteUpload && HasErrorBody(answer));
}

std::optional<absl::Duration> S3Call::Judge(const HttpAnswer& answer) {
  const bool is_good = IsGood(answer);
  const bool is_refused = request_.is_to_be_refused && answer.status / 100 == 4 &&
                          answer.status != kRequestTimeout && !IsBusy(answer);
  const bool is_transient = !is_good && !is_refused && IsTransient(answer);
  const absl::string_view outcome = is_good          ? "ok"
                                    : !is_transient  ? "refused"
                                    : IsBusy(answer) ? "busy"
                                                     : "failed";
  client_.metrics().tries.With({InfoOf(request_.operation).name, outcome}).Add();
  if (!is_transient) return std::nullopt;
  ++doubts_;
  // So no repetition is wanted; (what is infinite times 0 is nothing).
  if (policy_.first_wait == absl::InfiniteDuration()) return std::nullopt;
  // Whoever waits for it, as a start may, would say nothing.
  if (repetitions_ >= kQuietRepetitions) {
    LOG_EVERY_T(WARNING, kComplaintSeconds) << StatusOf(answer).message() << "; it is tried again";
  }
  return std::max(WaitBefore(policy_, repetitions_++, Random()),
                  std::min(RetryAfter(answer), policy_.max_wait));
}

absl::StatusOr<HttpAnswer> S3Call::Wait() {
  const HttpAnswer* answer = &exchange_->Wait();
  if (!IsGood(*answer) && RefusesCredentials(*answer) && !request_.credentials &&
      client_.credentials_->Reload(*credentials_)) {
    credentials_ = client_.credentials();
    Start();
    answer = &exchange_->Wait();
  }
  const OperationInfo info = InfoOf(request_.operation);
  client_.metrics()
      .duration.With({info.name})
      .Observe(absl::FromChrono(std::chrono::steady_clock::now() - begin_));
  status_ = answer->transport.ok() ? answer->status : 0;
  if (!IsGood(*answer)) return StatusOf(*answer);
  return *answer;
}

absl::Status S3Call::StatusOf(const HttpAnswer& answer) const {
  const OperationInfo info = InfoOf(request_.operation);
  return ToStatus(answer, info.method, info.doing, info.right, client_.clock_.Now());
}

absl::StatusOr<std::shared_ptr<S3Client>> S3Client::Open(
    Options options, std::unique_ptr<CredentialsSource> credentials, const Clock& clock) {
  options.transport.region = options.location.region;
  ASSIGN_OR_RETURN(std::unique_ptr<HttpTransport> transport,
                   HttpTransport::Open(options.transport));
  return std::shared_ptr<S3Client>(
      new S3Client(std::move(options), std::move(credentials), clock, std::move(transport)));
}

S3Client::S3Client(Options options, std::unique_ptr<CredentialsSource> credentials,
                   const Clock& clock, std::unique_ptr<HttpTransport> transport)
    : options_(std::move(options)),
      credentials_(std::move(credentials)),
      clock_(clock),
      transport_(std::move(transport)) {}

std::unique_ptr<S3Call> S3Client::Start(S3Request request, const RetryPolicy& policy) {
  return std::unique_ptr<S3Call>(new S3Call(*this, std::move(request), policy));
}

}  // namespace backup::storage::s3
