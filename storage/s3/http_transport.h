#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/s3/credentials.h"

namespace backup::storage::s3 {

// One request, as it goes out each time that it is tried.
struct HttpRequest {
  enum class Method { kGet, kHead, kPut, kPost, kDelete };

  Method method = Method::kGet;
  std::string url;                      // UrlOf().
  std::vector<std::string> headers;     // "name: value"; all of them are signed.
  std::vector<absl::string_view> body;  // Of PUT and POST. Must last until the exchange is over.
  std::string body_sha256;              // In hex.
  std::shared_ptr<const Credentials> credentials;
  // Where the content of a good answer (2xx) goes instead of HttpAnswer::body. An answer with more
  // than fits is an error.
  std::span<char> out;
  // The store may think for long before it answers.
  bool is_slow = false;
  // Goes out on a connection of its own, as libcurl by itself sends a request again if a kept
  // connection turns out to be gone: for what must not be done twice without our knowing.
  bool is_sent_once = false;
  // Told just before the exchange is over, by the transport's thread, which it must not block; so
  // once for each exchange.
  std::function<void()> is_ending;
};

struct HttpAnswer {
  // Larger ones, of which we ask for none, are errors. A page of a listing has 1000 entries.
  static constexpr size_t kMaxBodySize = size_t{4} << 20;

  // Not OK: no whole answer came (Unavailable, DeadlineExceeded, or Cancelled), or none can come
  // before somebody mends the configuration (FailedPrecondition); the rest is then what came of it.
  absl::Status transport;
  int status = 0;                                            // Of HTTP; 0 if there was none.
  std::vector<std::pair<std::string, std::string>> headers;  // Names in lower case.
  std::string body;
  size_t out_size = 0;

  // The value of a header; empty if there is none.
  absl::string_view Header(absl::string_view name) const;
};

// SHA-256 of no bytes, in hex.
inline constexpr absl::string_view kEmptySha256 =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

class HttpTransport;

// A request on its way, which may be tried several times. Wait() is called by one thread at a time.
class HttpExchange {
 public:
  // What to do after an answer: nothing if it is the last word, else how long to wait before the
  // request is tried again. Called by the transport's thread, which it must not block, and not any
  // more once the exchange is over.
  using Judge = std::function<std::optional<absl::Duration>(const HttpAnswer&)>;

  // Gives up what is not over yet; when this returns nothing uses the request's memory any more.
  ~HttpExchange();
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

  // Whether Wait() would return at once.
  bool is_over() const;
  // The last answer. Ends a little after the exchange's deadline at the latest.
  const HttpAnswer& Wait();

 private:
  friend class HttpTransport;
  struct State;
  HttpExchange(HttpTransport& transport, std::shared_ptr<State> state)
      : transport_(transport), state_(std::move(state)) {}

  HttpTransport& transport_;
  const std::shared_ptr<State> state_;
};

// Carries requests to one store, signed (AWS Signature Version 4), each with a deadline: by libcurl
// and one thread, which does all that goes over sockets, so that whoever has a request under way
// can do something else. Connections are kept and used again. Thread-safe.
class HttpTransport {
 public:
  struct Options {
    std::string region;
    std::string ca_file;  // Whom to trust in TLS; empty: whom the system does.
    // Requests that send content, and as many that get some, that are on their way at once; others
    // wait for their turn. While tries end because they are too slow, there are fewer of them.
    size_t max_active = 64;
    // The same of those without, and of those that are slow.
    size_t max_active_small = 16;
    absl::Duration connect_timeout = absl::Seconds(5);
    // A try ends if it moves less than kLeastBytesPerSecond for so long; not that of a slow one.
    absl::Duration stall_timeout = absl::Seconds(30);
  };
  static constexpr int64_t kLeastBytesPerSecond = 8 << 10;
  // Tries of one exchange that were ended as too slow and do not count as time without an answer.
  static constexpr int kMaxSlowTries = 3;

  // FailedPrecondition if there is no libcurl; Unavailable if there can be no thread.
  static absl::StatusOr<std::unique_ptr<HttpTransport>> Open(Options options);
  // No exchange may be left.
  ~HttpTransport();
  HttpTransport(const HttpTransport&) = delete;
  HttpTransport& operator=(const HttpTransport&) = delete;

  struct Timeouts {
    absl::Duration tries;  // So long after its first turn it is not tried again;
    absl::Duration each;   // and a try takes no longer than this.
    absl::Duration all;    // After this it is over, however far it has come, or had no turn.
  };
  std::unique_ptr<HttpExchange> Start(HttpRequest request, const Timeouts& timeouts,
                                      HttpExchange::Judge judge);
  // Cancels all that is under way, and whatever is started from now on.
  void Stop();

 private:
  friend class HttpExchange;
  class Loop;
  explicit HttpTransport(std::unique_ptr<Loop> loop);

  const std::unique_ptr<Loop> loop_;
};

}  // namespace backup::storage::s3
