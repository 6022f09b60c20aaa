#include "base/operations_endpoint.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <event2/thread.h>

#include <optional>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/listening_socket.h"
#include "base/process.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup {
namespace {

// How long a scraper may neither read nor write before its connection is closed.
constexpr int kTimeoutSeconds = 10;
constexpr int kComplaintSeconds = 60;
constexpr int kMaxHeadersSize = 8 << 10;
constexpr int kMaxBodySize = 1 << 10;
constexpr absl::Duration kProbeInterval = absl::Seconds(5);
constexpr int kOk = 200;
constexpr int kNotReady = 503;
constexpr int kBusy = 412;

struct Delete {
  void operator()(event_base* base) const { event_base_free(base); }
  void operator()(evhttp* http) const { evhttp_free(http); }
  void operator()(evbuffer* buffer) const { evbuffer_free(buffer); }
};

void Answer(evhttp_request* request, int code, const char* type, const std::string& text) {
  const std::unique_ptr<evbuffer, Delete> body(evbuffer_new());
  evbuffer_add(body.get(), text.data(), text.size());
  evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
  evhttp_send_reply(request, code, nullptr, body.get());
}

constexpr char kPlainText[] = "text/plain; charset=utf-8";
constexpr char kMetricsText[] = "text/plain; version=0.0.4; charset=utf-8";

// What the callbacks are given.
using Sources = OperationsEndpoint::Sources;

void AnswerLive(evhttp_request* request, void* sources) {
  const bool alive = static_cast<const Sources*>(sources)->readiness.Check().alive;
  Answer(request, alive ? kOk : kNotReady, kPlainText, alive ? "ok\n" : "stuck\n");
}

void AnswerDrain(evhttp_request* request, void* sources) {
  const bool idle = static_cast<const Sources*>(sources)->is_idle();
  Answer(request, idle ? kOk : kBusy, kPlainText, idle ? "safe to stop\n" : "busy\n");
}

void AnswerReady(evhttp_request* request, void* sources) {
  const Readiness::Report report = static_cast<const Sources*>(sources)->readiness.Check();
  const char* query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
  const bool verbose = query != nullptr && absl::StartsWith(query, "verbose");
  const std::string summary = report.ready ? "ready\n" : "not ready\n";
  Answer(request, report.ready ? kOk : kNotReady, kPlainText,
         verbose ? absl::StrCat(report.text, summary) : summary);
}

void AnswerMetrics(evhttp_request* request, void* sources) {
  Answer(request, kOk, kMetricsText, static_cast<const Sources*>(sources)->metrics.Text());
}

void ListenAgain(evutil_socket_t, short, void* listener) {
  evconnlistener_enable(static_cast<evconnlistener*>(listener));
}

// As without descriptors. Whoever waits to be accepted would wake the loop again at once.
void PauseListening(evconnlistener* listener, void*) {
  LOG_EVERY_T(WARNING, kComplaintSeconds) << "the operations endpoint cannot accept connections: "
                                          << evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR());
  constexpr timeval kPause = {1, 0};
  if (event_base_once(evconnlistener_get_base(listener), -1, EV_TIMEOUT, ListenAgain, listener,
                      &kPause) == 0) {
    evconnlistener_disable(listener);
  }
}

// libevent itself would write to standard error from whichever thread complains.
void LogOfLibevent(int severity, const char* message) {
  LOG_IF(WARNING, severity >= EVENT_LOG_WARN) << "libevent: " << message;
}

class HttpEndpoint final : public OperationsEndpoint {
 public:
  HttpEndpoint() {
    event_set_log_callback(&LogOfLibevent);
    evthread_use_pthreads();  // The destructor ends the loop from another thread.
    base_.reset(event_base_new());
    http_.reset(evhttp_new(base_.get()));
  }
  ~HttpEndpoint() override {
    event_base_loopexit(base_.get(), nullptr);
    if (thread_.joinable()) thread_.join();
  }
  int bound_port() const override { return bound_port_; }

  absl::Status Listen(const HostAndPort& address) {
    evhttp_set_timeout(http_.get(), kTimeoutSeconds);
    evhttp_set_max_headers_size(http_.get(), kMaxHeadersSize);
    evhttp_set_max_body_size(http_.get(), kMaxBodySize);
    evhttp_set_allowed_methods(http_.get(), EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    ASSIGN_OR_RETURN(ListeningSocket socket, ListenOnTcp(address, "--operations_listen"));
    evhttp_bound_socket* const bound =
        evhttp_accept_socket_with_handle(http_.get(), socket.fd.get());
    if (bound == nullptr)
      return absl::ResourceExhaustedError("cannot serve on --operations_listen");
    evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(bound), PauseListening);
    socket.fd.Release();  // It is libevent's.
    bound_port_ = socket.port;
    return absl::OkStatus();
  }

  void Serve(const Sources& sources) override {
    sources_.emplace(sources);
    evhttp_set_cb(http_.get(), "/livez", AnswerLive, &*sources_);
    evhttp_set_cb(http_.get(), "/readyz", AnswerReady, &*sources_);
    evhttp_set_cb(http_.get(), "/drainz", AnswerDrain, &*sources_);
    evhttp_set_cb(http_.get(), "/metrics", AnswerMetrics, &*sources_);
    thread_ = std::thread([this] { event_base_dispatch(base_.get()); });
  }

 private:
  std::unique_ptr<event_base, Delete> base_;
  std::unique_ptr<evhttp, Delete> http_;
  int bound_port_ = 0;
  std::optional<Sources> sources_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<OperationsEndpoint>> OperationsEndpoint::Open(
    const std::string& address) {
  const absl::StatusOr<HostAndPort> parts = ParseHostAndPort(address);
  if (!parts.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--operations_listen=", parts.status().message(), " (ADDRESS:PORT)"));
  }
  // There is no authentication: every address must be meant.
  if (parts->host.empty() && !absl::StrContains(address, '*')) {
    return absl::InvalidArgumentError(
        absl::StrCat("--operations_listen=", address,
                     " is not ADDRESS:PORT: give 127.0.0.1, or * for every address"));
  }
  auto endpoint = std::make_unique<HttpEndpoint>();
  RETURN_IF_ERROR(endpoint->Listen(*parts));
  return endpoint;
}

void Operations::SetDraining() const {
  if (readiness != nullptr) readiness->SetDraining();
}

absl::StatusOr<std::unique_ptr<OperationsEndpoint>> OpenOperations(const std::string& address) {
  if (address.empty()) return nullptr;
  return OperationsEndpoint::Open(address);
}

Operations StartOperations(std::unique_ptr<OperationsEndpoint> endpoint, std::vector<Probe> probes,
                           std::function<bool()> is_idle, Metrics& metrics) {
  Operations operations;
  if (endpoint == nullptr) return operations;
  operations.readiness = std::make_unique<Readiness>(std::move(probes), kProbeInterval, metrics);
  operations.endpoint = std::move(endpoint);
  operations.endpoint->Serve({metrics, *operations.readiness, std::move(is_idle)});
  return operations;
}

absl::Status WriteOperationsPort(const std::string& path, const OperationsEndpoint* endpoint) {
  if (path.empty() || endpoint == nullptr) return absl::OkStatus();
  return WriteFileAtomically(path, absl::StrCat(endpoint->bound_port(), "\n"));
}

}  // namespace backup
