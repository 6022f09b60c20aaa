#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "storage/s3/testing/loopback_server.h"

namespace backup::storage::s3 {

// What becomes of one request and its answer on their way.
struct Fault {
  // Sent instead of asking the store at all.
  std::string answer = {};
  // How much of the request's body, and of the answer, goes through before both connections end. An
  // answer of which nothing does is lost: the store has done what it was asked.
  std::optional<int64_t> request_bytes = std::nullopt;
  std::optional<int64_t> answer_bytes = std::nullopt;
  // Before the answer goes on.
  absl::Duration delay = absl::ZeroDuration();
  // The store gets the request a second time, on another connection, once it has answered.
  bool is_repeated = false;
};

// An answer in S3's form, with a header line each in `headers`.
std::string ErrorAnswer(int status, absl::string_view code, absl::string_view more_xml = "",
                        absl::string_view headers = "");

// A TCP proxy on loopback before a store, which does to each request what a plan says; without one
// it passes all on. One request a connection. Thread-safe.
class FaultProxy {
 public:
  // `request` is "PUT /bucket/key?query".
  using Plan = std::function<Fault(absl::string_view request)>;

  // `port` on 127.0.0.1 is where the store listens; 0: there is none.
  explicit FaultProxy(int port);
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  std::string endpoint() const { return server_.endpoint(); }
  void set_plan(Plan plan);
  // Requests that came so far.
  int requests() const { return requests_; }
  // Until the store has answered all that came and is repeated a second time.
  void WaitUntilRepeated();

 private:
  void Serve(UniqueFd client);
  Fault FaultOf(absl::string_view request);

  const int store_port_;
  std::atomic<int> requests_ = 0;
  Mutex mutex_;
  CondVar changed_;
  Plan plan_ ABSL_GUARDED_BY(mutex_);
  int repeating_ ABSL_GUARDED_BY(mutex_) = 0;
  LoopbackServer server_;  // Last: ended first.
};

}  // namespace backup::storage::s3
