#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "storage/s3/answers.h"
#include "storage/s3/credentials.h"
#include "storage/s3/http_transport.h"
#include "storage/s3/location.h"
#include "storage/s3/s3_metrics.h"

namespace backup::storage::s3 {

// What is asked of a store.
enum class Operation {
  kPut,
  kGet,
  kHead,
  kDelete,
  kList,
  kBeginUpload,
  kPutPart,
  kCompleteUpload,
  kAbortUpload,
  kListUploads,
};

struct S3Request {
  Operation operation = Operation::kGet;
  std::string key = {};  // All of it; empty for a listing.
  Query query = {};
  std::vector<std::string> headers = {};     // "name: value".
  std::vector<absl::string_view> body = {};  // Must last as long as the call.
  std::string body_sha256 = std::string(kEmptySha256);
  std::span<char> out = {};  // HttpRequest's, as is:
  std::function<void()> is_ending = nullptr;
  // Instead of those of the client, which are then not read again either.
  std::shared_ptr<const Credentials> credentials = nullptr;
  // It is wrong on purpose: being refused for what it is does not pass.
  bool is_to_be_refused = false;
};

// How requests are tried.
struct RetryPolicy {
  // No try begins later than this after the first one, however long that had to wait for its turn.
  // A try takes at most so much longer as the request's bytes take at the least rate, and all
  // together at most twice as much.
  absl::Duration timeout = absl::Seconds(60);
  int64_t least_bytes_per_second = 16 << 10;
  // Before the nth repetition a random time below first_wait * 2^n, or max_wait if that is less.
  absl::Duration first_wait = absl::Milliseconds(100);
  absl::Duration max_wait = absl::Seconds(10);
};

// One try, for what is worth no more than that.
inline constexpr RetryPolicy kOnce = {absl::Seconds(5), 16 << 10, absl::InfiniteDuration(),
                                      absl::InfiniteDuration()};

// The wait before a repetition (0 is the first) for `random` in [0, 1).
absl::Duration WaitBefore(const RetryPolicy& policy, int repetition, double random);

class S3Client;

// A request on its way. Used by one thread at a time.
class S3Call {
 public:
  // Gives it up, if it is not over.
  ~S3Call();
  S3Call(const S3Call&) = delete;
  S3Call& operator=(const S3Call&) = delete;

  // Once it is over: a good answer, or ToStatus(). At most once.
  absl::StatusOr<HttpAnswer> Wait();
  // After Wait(): whether an earlier or the last try may have been carried out though nobody said
  // so. (Of requests that libcurl may send again by itself nobody knows: HttpRequest.)
  bool is_in_doubt() const { return doubts_ > 0; }
  // After Wait(): the status of HTTP; 0 if there was no whole answer.
  int status() const { return status_; }

 private:
  friend class S3Client;
  S3Call(S3Client& client, S3Request request, const RetryPolicy& policy);
  void Start();
  std::optional<absl::Duration> Judge(const HttpAnswer& answer);
  bool IsGood(const HttpAnswer& answer) const;
  absl::Status StatusOf(const HttpAnswer& answer) const;  // Which is not good.

  S3Client& client_;
  const S3Request request_;
  const RetryPolicy policy_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::shared_ptr<const Credentials> credentials_;
  std::atomic<int> repetitions_ = 0;  // The transport's thread counts.
  std::atomic<int> doubts_ = 0;
  int status_ = 0;
  std::unique_ptr<HttpExchange> exchange_;  // Last: it ends before what it uses.
};

// Asks one store: tries again what may succeed a little later, and reads credentials again that are
// refused. Thread-safe.
class S3Client {
 public:
  struct Options {
    Location location;
    HttpTransport::Options transport;  // Without the region, which the location has.
    RetryPolicy retries;
    S3Metrics metrics;
  };

  // `clock` must outlive the client.
  static absl::StatusOr<std::shared_ptr<S3Client>> Open(
      Options options, std::unique_ptr<CredentialsSource> credentials, const Clock& clock);

  const Location& location() const { return options_.location; }
  const S3Metrics& metrics() const { return options_.metrics; }
  std::shared_ptr<const Credentials> credentials() const { return credentials_->Get(); }
  const RetryPolicy& retries() const { return options_.retries; }
  absl::Time Now() const { return clock_.Now(); }

  // The client must outlive the call.
  std::unique_ptr<S3Call> Start(S3Request request) { return Start(std::move(request), retries()); }
  std::unique_ptr<S3Call> Start(S3Request request, const RetryPolicy& policy);
  // What is under way and what is started later ends at once, as if the store could not be reached.
  void Stop() { transport_->Stop(); }
  // Starts it and waits.
  absl::StatusOr<HttpAnswer> Call(S3Request request) { return Start(std::move(request))->Wait(); }

 private:
  friend class S3Call;
  S3Client(Options options, std::unique_ptr<CredentialsSource> credentials, const Clock& clock,
           std::unique_ptr<HttpTransport> transport);

  const Options options_;
  const std::unique_ptr<CredentialsSource> credentials_;
  const Clock& clock_;
  const std::unique_ptr<HttpTransport> transport_;
};

}  // namespace backup::storage::s3
