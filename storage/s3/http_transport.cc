#include "storage/s3/http_transport.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <numeric>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/start_thread.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "storage/s3/curl_library.h"

namespace backup::storage::s3 {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

// What curl reads and writes at once.
constexpr long kSocketBufferSize = 512 << 10;
// Headers of an answer that are kept; more are no answer of a store.
constexpr size_t kMaxHeaders = 64;
constexpr size_t kMaxHeaderSize = 4 << 10;
// The thread looks after what it has to do so often even if nobody wakes it.
constexpr absl::Duration kMaxPoll = absl::Seconds(1);

SteadyTime After(absl::Duration duration) {
  return std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(duration);
}

absl::Duration Until(SteadyTime time) {
  return absl::FromChrono(time - std::chrono::steady_clock::now());
}

long Milliseconds(absl::Duration duration) {
  return static_cast<long>(absl::ToInt64Milliseconds(std::max(duration, absl::Milliseconds(1))));
}

// The first digit of the status in "HTTP/1.1 200 OK".
char StatusClass(absl::string_view line) {
  const size_t space = line.find(' ');
  return space + 1 < line.size() ? line[space + 1] : '0';
}

int64_t BodySize(const HttpRequest& request) {
  int64_t size = 0;
  for (const absl::string_view part : request.body) size += static_cast<int64_t>(part.size());
  return size;
}

}  // namespace

// Of one exchange. What is not guarded is the thread's own from Start() until it is over.
struct HttpExchange::State {
  // None waits for those of another one.
  enum class Lane { kSmall, kSlow, kUpload, kDownload };
  static constexpr size_t kLanes = 4;

  HttpRequest request;
  Judge judge;
  HttpTransport::Timeouts timeouts;
  SteadyTime deadline;

  bool had_a_turn = false;
  SteadyTime last_try;  // No try begins later; once it had a turn.
  int slow_tries = 0;
  SteadyTime next_try;
  SteadyTime begin_of_try;  // Of the one that is under way.
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  size_t body_part = 0;    // What is sent next: which part of the body,
  size_t body_offset = 0;  // and where in it.
  bool is_answer_good = false;
  bool has_all_headers = false;
  std::string overflow;  // Why we ended it ourselves.
  std::array<char, CURL_ERROR_SIZE> error = {};
  HttpAnswer answer;

  Lane lane() const {
    if (request.is_slow) return Lane::kSlow;
    if (request.body.empty() && request.out.empty()) return Lane::kSmall;
    return request.out.empty() ? Lane::kUpload : Lane::kDownload;
  }

  mutable Mutex mutex;
  CondVar changed;
  bool is_over ABSL_GUARDED_BY(mutex) = false;
};

// The thread and all that is its own.
class HttpTransport::Loop {
 public:
  using StatePtr = std::shared_ptr<HttpExchange::State>;
  using Lane = HttpExchange::State::Lane;
  static constexpr size_t kLanes = HttpExchange::State::kLanes;

  Loop(Options options, const CurlLibrary& curl) : options_(std::move(options)), curl_(curl) {
    for (size_t lane = 0; lane < kLanes; ++lane) slots_[lane] = MostSlots(static_cast<Lane>(lane));
    multi_ = curl_.multi_init();
    CHECK(multi_ != nullptr);
    curl_.multi_setopt(multi_, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_.multi_setopt(multi_, CURLMOPT_MAXCONNECTS,
                       static_cast<long>(std::accumulate(slots_.begin(), slots_.end(), size_t{0})));
  }

  ~Loop() {
    {
      MutexLock lock(mutex_);
      is_stopped_ = true;
    }
    curl_.multi_wakeup(multi_);
    if (thread_) thread_->join();
    for (CURL* const easy : spare_) curl_.easy_cleanup(easy);
    curl_.multi_cleanup(multi_);
  }

  bool TryBegin() {
    thread_ = TryStartThread([this] { Run(); });
    return thread_.has_value();
  }

  void Add(StatePtr state) {
    {
      MutexLock lock(mutex_);
      added_.push_back(std::move(state));
    }
    curl_.multi_wakeup(multi_);
  }

  void Stop() {
    {
      MutexLock lock(mutex_);
      cancels_ = true;
    }
    curl_.multi_wakeup(multi_);
  }

  void GiveUp(StatePtr state) {
    {
      MutexLock lock(mutex_);
      given_up_.push_back(std::move(state));
    }
    curl_.multi_wakeup(multi_);
  }

 private:
  void Run() {
    // Who writes to a connection that is gone wants an error.
    sigset_t pipe;
    ::sigemptyset(&pipe);
    ::sigaddset(&pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    while (TakeOrders()) {
      BeginDue();
      int running = 0;
      curl_.multi_perform(multi_, &running);
      // Before the next wait: it does not end for what is finished already.
      if (FinishDone()) continue;
      curl_.multi_poll(multi_, nullptr, 0, static_cast<int>(Milliseconds(NextWait())), nullptr);
    }
    CHECK(active_.empty() && waiting_.empty());
  }

  // False once it is to stop.
  bool TakeOrders() {
    std::vector<StatePtr> given_up;
    {
      MutexLock lock(mutex_);
      for (StatePtr& state : added_) waiting_.push_back(std::move(state));
      added_.clear();
      given_up.swap(given_up_);
      if (cancels_) {
        given_up.insert(given_up.end(), waiting_.begin(), waiting_.end());
        given_up.insert(given_up.end(), active_.begin(), active_.end());
      }
      if (is_stopped_ && waiting_.empty() && active_.empty()) return false;
    }
    for (const StatePtr& state : given_up) {
      const auto is_it = [&](const StatePtr& other) { return other == state; };
      const bool is_waiting = std::erase_if(waiting_, is_it) > 0;
      const bool is_active = std::erase_if(active_, is_it) > 0;
      if (is_active) Detach(*state);
      if (is_waiting || is_active) End(*state, absl::CancelledError("given up"));
    }
    return true;
  }

  // Those whose time has come, as many as may be; ends those whose time is over.
  void BeginDue() {
    const SteadyTime now = std::chrono::steady_clock::now();
    for (size_t i = 0; i < waiting_.size();) {
      const StatePtr state = waiting_[i];
      const bool is_late = state->deadline <= now;
      const bool is_due = state->next_try <= now && HasTurn(*state);
      if (!is_late && !is_due) {
        ++i;
        continue;
      }
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
      if (is_late) {
        End(*state, absl::DeadlineExceededError("it did not get its turn in time"));
      } else {
        if (!std::exchange(state->had_a_turn, true)) state->last_try = After(state->timeouts.tries);
        active_.push_back(state);
        Attach(*state);
      }
    }
  }

  bool HasTurn(const HttpExchange::State& state) const {
    const auto active = std::count_if(active_.begin(), active_.end(), [&](const StatePtr& other) {
      return other->lane() == state.lane();
    });
    return static_cast<size_t>(active) < slots_[Index(state.lane())];
  }

  static bool IsOfContent(Lane lane) { return lane == Lane::kUpload || lane == Lane::kDownload; }
  static size_t Index(Lane lane) { return static_cast<size_t>(lane); }
  size_t MostSlots(Lane lane) const {
    return IsOfContent(lane) ? options_.max_active : options_.max_active_small;
  }

  // Many at once may be too much for a line: fewer of them come through.
  void Regulate(HttpExchange::State& state, CURLcode result) {
    const Lane lane = state.lane();
    if (!IsOfContent(lane)) return;
    size_t& slots = slots_[Index(lane)];
    if (result == CURLE_OK) slots = std::min(slots + 1, MostSlots(lane));
    curl_off_t sent = 0;
    curl_.easy_getinfo(state.easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (result != CURLE_OPERATION_TIMEDOUT || (sent == 0 && state.answer.out_size == 0)) return;
    // All that were on their way together are too slow for one reason.
    SteadyTime& halved = halved_[Index(lane)];
    if (state.begin_of_try >= halved) {
      slots = std::max<size_t>(1, slots / 2);
      halved = std::chrono::steady_clock::now();
    }
    if (++state.slow_tries <= kMaxSlowTries) state.last_try = After(state.timeouts.tries);
  }

  // Whether only somebody who changes the configuration can mend it.
  static bool IsLasting(CURLcode result) {
    switch (result) {
      case CURLE_UNSUPPORTED_PROTOCOL:
      case CURLE_URL_MALFORMAT:
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_ISSUER_ERROR:
        return true;
      default:
        return false;
    }
  }

  absl::Status ErrorOf(const HttpExchange::State& state, CURLcode result) const {
    std::string what = curl_.easy_strerror(result);
    if (state.error.front() != '\0') absl::StrAppend(&what, ": ", state.error.data());
    return IsLasting(result) ? absl::FailedPreconditionError(what) : absl::UnavailableError(what);
  }

  bool FinishDone() {
    bool any = false;
    int left = 0;
    while (const CURLMsg* const message = curl_.multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      any = true;
      const CURLcode result = message->data.result;
      HttpExchange::State* raw = nullptr;
      curl_.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &raw);
      const auto found = std::find_if(active_.begin(), active_.end(),
                                      [&](const StatePtr& state) { return state.get() == raw; });
      CHECK(found != active_.end());
      const StatePtr state = *found;
      active_.erase(found);
      FinishTry(state, result);
    }
    return any;
  }

  void FinishTry(const StatePtr& state, CURLcode result) {
    long status = 0;
    curl_.easy_getinfo(state->easy, CURLINFO_RESPONSE_CODE, &status);
    state->answer.status = static_cast<int>(status);
    if (!state->overflow.empty()) {
      state->answer.transport = absl::UnavailableError(state->overflow);
    } else if (result != CURLE_OK) {
      state->answer.transport = ErrorOf(*state, result);
    } else if (!HasAll(*state)) {
      state->answer.transport = absl::UnavailableError("the answer was cut off");
    }
    Regulate(*state, result);
    Detach(*state);
    const std::optional<absl::Duration> wait = state->judge(state->answer);
    if (!wait || After(*wait) >= state->last_try) {
      End(*state, state->answer.transport);
      return;
    }
    state->next_try = After(*wait);
    waiting_.push_back(state);
  }

  // Curl takes the end of a connection for the end of the headers, or of a content of unknown
  // length.
  static bool HasAll(const HttpExchange::State& state) {
    const HttpAnswer& answer = state.answer;
    const bool is_counted = !answer.Header("content-length").empty() ||
                            absl::EqualsIgnoreCase(answer.Header("transfer-encoding"), "chunked");
    return state.has_all_headers && (is_counted || (answer.body.empty() && answer.out_size == 0));
  }

  absl::Duration NextWait() const {
    absl::Duration wait = kMaxPoll;
    for (const StatePtr& state : waiting_) {
      const SteadyTime next = HasTurn(*state) ? state->next_try : state->deadline;
      wait = std::min(wait, Until(std::min(next, state->deadline)));
    }
    return wait;
  }

  // Once for each exchange, by the one thread.
  void End(HttpExchange::State& state, absl::Status transport) {
    state.answer.transport = std::move(transport);
    if (state.request.is_ending) state.request.is_ending();
    // The last use of it: who waits may be gone as soon as the lock is.
    MutexLock lock(state.mutex);
    state.is_over = true;
    state.changed.NotifyAll();
  }

  void Attach(HttpExchange::State& state) {
    if (spare_.empty()) {
      state.easy = curl_.easy_init();
      CHECK(state.easy != nullptr);
    } else {
      state.easy = spare_.back();
      spare_.pop_back();
      curl_.easy_reset(state.easy);
    }
    state.answer = {};
    state.begin_of_try = std::chrono::steady_clock::now();
    state.body_part = state.body_offset = 0;
    state.is_answer_good = state.has_all_headers = false;
    state.overflow.clear();
    SetOptions(state);
    CHECK_EQ(curl_.multi_add_handle(multi_, state.easy), CURLM_OK);
  }

  // The connection stays, unless the answer was not read to its end.
  void Detach(HttpExchange::State& state) {
    curl_.multi_remove_handle(multi_, state.easy);
    curl_.slist_free_all(std::exchange(state.headers, nullptr));
    spare_.push_back(std::exchange(state.easy, nullptr));
  }

  void SetOptions(HttpExchange::State& state) {
    CURL* const easy = state.easy;
    const HttpRequest& request = state.request;
    const auto set = [this, easy](CURLoption option, auto value) {
      CHECK_EQ(curl_.easy_setopt(easy, option, value), CURLE_OK) << option;
    };
    set(CURLOPT_PRIVATE, &state);
    state.error.fill('\0');
    set(CURLOPT_ERRORBUFFER, state.error.data());
    if (request.is_sent_once) set(CURLOPT_FRESH_CONNECT, 1L);
    set(CURLOPT_URL, request.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_PROXY, "");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_QUICK_EXIT, 1L);  // Does not wait for a name that nobody needs any more.
    set(CURLOPT_BUFFERSIZE, kSocketBufferSize);
    set(CURLOPT_UPLOAD_BUFFERSIZE, kSocketBufferSize);
    set(CURLOPT_CONNECTTIMEOUT_MS, Milliseconds(options_.connect_timeout));
    set(CURLOPT_TIMEOUT_MS, Milliseconds(std::min(state.timeouts.each, Until(state.deadline))));
    if (!request.is_slow) {
      set(CURLOPT_LOW_SPEED_LIMIT, static_cast<long>(kLeastBytesPerSecond));
      set(CURLOPT_LOW_SPEED_TIME,
          std::max(1L, static_cast<long>(absl::ToInt64Seconds(options_.stall_timeout))));
    }
    if (!options_.ca_file.empty()) set(CURLOPT_CAINFO, options_.ca_file.c_str());
    set(CURLOPT_AWS_SIGV4, absl::StrCat("aws:amz:", options_.region, ":s3").c_str());
    set(CURLOPT_USERNAME, request.credentials->access_key.c_str());
    set(CURLOPT_PASSWORD, request.credentials->secret_key.c_str());
    SetMethod(state);
    SetHeaders(state);
    set(CURLOPT_HEADERFUNCTION, &OnHeader);
    set(CURLOPT_HEADERDATA, &state);
    set(CURLOPT_WRITEFUNCTION, &OnContent);
    set(CURLOPT_WRITEDATA, &state);
  }

  void SetMethod(HttpExchange::State& state) {
    CURL* const easy = state.easy;
    const auto set = [this, easy](CURLoption option, auto value) {
      CHECK_EQ(curl_.easy_setopt(easy, option, value), CURLE_OK) << option;
    };
    using Method = HttpRequest::Method;
    switch (state.request.method) {
      case Method::kGet:
        set(CURLOPT_HTTPGET, 1L);
        return;
      case Method::kHead:
        set(CURLOPT_NOBODY, 1L);
        return;
      case Method::kDelete:
        set(CURLOPT_CUSTOMREQUEST, "DELETE");
        return;
      case Method::kPut:
        set(CURLOPT_UPLOAD, 1L);
        set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(BodySize(state.request)));
        break;
      case Method::kPost:
        set(CURLOPT_POST, 1L);
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(BodySize(state.request)));
        break;
    }
    set(CURLOPT_READFUNCTION, &OnRead);
    set(CURLOPT_READDATA, &state);
    set(CURLOPT_SEEKFUNCTION, &OnSeek);
    set(CURLOPT_SEEKDATA, &state);
  }

  void SetHeaders(HttpExchange::State& state) {
    const HttpRequest& request = state.request;
    const auto add = [&](const std::string& header) {
      curl_slist* const longer = curl_.slist_append(state.headers, header.c_str());
      CHECK(longer != nullptr);
      state.headers = longer;
    };
    // Always told: else curl makes one of its own, of an empty body.
    add(absl::StrCat("x-amz-content-sha256: ", request.body_sha256));
    if (!request.credentials->session_token.empty())
      add(absl::StrCat("x-amz-security-token: ", request.credentials->session_token));
    for (const std::string& header : request.headers) add(header);
    curl_.easy_setopt(state.easy, CURLOPT_HTTPHEADER, state.headers);
  }

  static size_t OnRead(char* out, size_t size, size_t count, void* data) {
    auto& state = *static_cast<HttpExchange::State*>(data);
    size_t left = size * count;
    size_t read = 0;
    const std::vector<absl::string_view>& body = state.request.body;
    while (left > 0 && state.body_part < body.size()) {
      const absl::string_view rest = body[state.body_part].substr(state.body_offset);
      const size_t taken = std::min(left, rest.size());
      if (taken > 0) std::memcpy(out + read, rest.data(), taken);
      read += taken;
      left -= taken;
      state.body_offset += taken;
      if (taken == rest.size()) {
        ++state.body_part;
        state.body_offset = 0;
      }
    }
    return read;
  }

  // To the beginning: a kept connection may turn out to be gone.
  static int OnSeek(void* data, curl_off_t offset, int origin) {
    if (offset != 0 || origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
    auto& state = *static_cast<HttpExchange::State*>(data);
    state.body_part = state.body_offset = 0;
    return CURL_SEEKFUNC_OK;
  }

  static size_t OnHeader(char* in, size_t size, size_t count, void* data) {
    auto& state = *static_cast<HttpExchange::State*>(data);
    absl::string_view line(in, size * count);
    if (absl::StartsWith(line, "HTTP/")) {  // Also of the one after "100 Continue".
      state.answer.headers.clear();
      state.has_all_headers = false;
      state.is_answer_good = StatusClass(line) == '2';
      return line.size();
    }
    if (line == "\r\n" || line == "\n") state.has_all_headers = true;
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos) return line.size();
    if (state.answer.headers.size() == kMaxHeaders || line.size() > kMaxHeaderSize) {
      state.overflow = "the answer has too many headers";
      return 0;
    }
    state.answer.headers.emplace_back(
        absl::AsciiStrToLower(line.substr(0, colon)),
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1))));
    return line.size();
  }

  static size_t OnContent(char* in, size_t size, size_t count, void* data) {
    auto& state = *static_cast<HttpExchange::State*>(data);
    const size_t added = size * count;
    HttpAnswer& answer = state.answer;
    const std::span<char> out = state.request.out;
    const bool is_for_out = state.is_answer_good && !out.empty();
    const size_t room =
        is_for_out ? out.size() - answer.out_size : HttpAnswer::kMaxBodySize - answer.body.size();
    if (added > room) {
      state.overflow = "the answer is longer than what was asked for";
      return 0;
    }
    if (is_for_out) {
      std::memcpy(out.data() + answer.out_size, in, added);
      answer.out_size += added;
    } else {
      answer.body.append(in, added);
    }
    return added;
  }

  const Options options_;
  const CurlLibrary& curl_;
  CURLM* multi_ = nullptr;
  Mutex mutex_;
  std::vector<StatePtr> added_ ABSL_GUARDED_BY(mutex_);
  std::vector<StatePtr> given_up_ ABSL_GUARDED_BY(mutex_);
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancels_ ABSL_GUARDED_BY(mutex_) = false;
  // The thread's own.
  std::array<size_t, kLanes> slots_;         // Of each lane, by now.
  std::array<SteadyTime, kLanes> halved_{};  // When they last were.
  std::deque<StatePtr> waiting_;  // In the order in which they came, for their time or their turn.
  std::vector<StatePtr> active_;
  std::vector<CURL*> spare_;
  std::optional<std::thread> thread_;
};

absl::string_view HttpAnswer::Header(absl::string_view name) const {
  for (const auto& [header, value] : headers)
    if (header == name) return value;
  return "";
}

HttpExchange::~HttpExchange() {
  if (is_over()) return;
  transport_.loop_->GiveUp(state_);
  Wait();
}

bool HttpExchange::is_over() const {
  MutexLock lock(state_->mutex);
  return state_->is_over;
}

const HttpAnswer& HttpExchange::Wait() {
  MutexLock lock(state_->mutex);
  // The thread ends it at its deadline.
  while (!state_->is_over) state_->changed.Wait(state_->mutex);
  return state_->answer;
}

HttpTransport::HttpTransport(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
HttpTransport::~HttpTransport() = default;

absl::StatusOr<std::unique_ptr<HttpTransport>> HttpTransport::Open(Options options) {
  RETURN_IF_ERROR(CurlLibrary::Get().status());
  auto loop = std::make_unique<Loop>(std::move(options), *CurlLibrary::Get());
  if (!loop->TryBegin()) return absl::UnavailableError("the system has no room for another thread");
  return std::unique_ptr<HttpTransport>(new HttpTransport(std::move(loop)));
}

std::unique_ptr<HttpExchange> HttpTransport::Start(HttpRequest request, const Timeouts& timeouts,
                                                   HttpExchange::Judge judge) {
  auto state = std::make_shared<HttpExchange::State>();
  state->request = std::move(request);
  state->judge = std::move(judge);
  state->timeouts = timeouts;
  state->deadline = After(timeouts.all);
  state->next_try = std::chrono::steady_clock::now();
  loop_->Add(state);
  return std::unique_ptr<HttpExchange>(new HttpExchange(*this, std::move(state)));
}

void HttpTransport::Stop() { loop_->Stop(); }

}  // namespace backup::storage::s3
