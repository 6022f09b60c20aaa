#include "base/operations_endpoint.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/thread.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/exit_code.h"
#include "base/process.h"
#include "base/status_macros.h"

namespace backup {
namespace {

// A scraper that does not read or write for so long is hung up on.
constexpr int kTimeoutSeconds = 10;
constexpr int kMaxHeadersSize = 8 << 10;
constexpr int kMaxBodySize = 1 << 10;
constexpr absl::Duration kProbeInterval = absl::Seconds(5);
constexpr int kOk = 200;
constexpr int kNotReady = 503;

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

void AnswerLive(evhttp_request* request, void*) { Answer(request, kOk, kPlainText, "ok\n"); }

void AnswerReady(evhttp_request* request, void* readiness) {
  const Readiness::Report report = static_cast<const Readiness*>(readiness)->Check();
  const char* query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
  const bool verbose = query != nullptr && absl::StartsWith(query, "verbose");
  const std::string summary = report.ready ? "ready\n" : "not ready\n";
  Answer(request, report.ready ? kOk : kNotReady, kPlainText,
         verbose ? absl::StrCat(report.text, summary) : summary);
}

void AnswerMetrics(evhttp_request* request, void* metrics) {
  Answer(request, kOk, kMetricsText, static_cast<const Metrics*>(metrics)->Text());
}

class HttpEndpoint final : public OperationsEndpoint {
 public:
  HttpEndpoint() {
    evthread_use_pthreads();  // The destructor ends the loop from another thread.
    base_.reset(event_base_new());
    http_.reset(evhttp_new(base_.get()));
  }
  ~HttpEndpoint() override {
    event_base_loopexit(base_.get(), nullptr);
    if (thread_.joinable()) thread_.join();
  }
  int bound_port() const override { return bound_port_; }

  absl::Status Serve(const std::string& host, uint16_t port, const Metrics& metrics,
                     const Readiness& readiness) {
    evhttp_set_timeout(http_.get(), kTimeoutSeconds);
    evhttp_set_max_headers_size(http_.get(), kMaxHeadersSize);
    evhttp_set_max_body_size(http_.get(), kMaxBodySize);
    evhttp_set_allowed_methods(http_.get(), EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_cb(http_.get(), "/livez", AnswerLive, nullptr);
    evhttp_set_cb(http_.get(), "/readyz", AnswerReady, const_cast<Readiness*>(&readiness));
    evhttp_set_cb(http_.get(), "/metrics", AnswerMetrics, const_cast<Metrics*>(&metrics));
    evhttp_bound_socket* const bound =
        evhttp_bind_socket_with_handle(http_.get(), host.c_str(), port);
    if (bound == nullptr) {
      const int error = errno;
      const absl::Status status = absl::ErrnoToStatus(
          error, absl::StrCat("cannot listen on ", host, ":", port, " (--operations_listen)"));
      return error == EADDRINUSE ? WithExitCode(status, kExitInUse) : status;
    }
    sockaddr_in6 address = {};  // Long enough for both families; the port is at the same place.
    socklen_t size = sizeof(address);
    ::getsockname(evhttp_bound_socket_get_fd(bound), reinterpret_cast<sockaddr*>(&address), &size);
    bound_port_ = ntohs(address.sin6_port);
    thread_ = std::thread([this] { event_base_dispatch(base_.get()); });
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<event_base, Delete> base_;
  std::unique_ptr<evhttp, Delete> http_;
  int bound_port_ = 0;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<OperationsEndpoint>> OperationsEndpoint::Start(
    const std::string& address, const Metrics& metrics, const Readiness& readiness) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("--operations_listen=", address, " is not ADDRESS:PORT"));
  }
  absl::string_view host = absl::string_view(address).substr(0, colon);
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  auto endpoint = std::make_unique<HttpEndpoint>();
  const absl::Status served =
      endpoint->Serve(std::string(host), static_cast<uint16_t>(port), metrics, readiness);
  if (!served.ok()) return served;
  return endpoint;
}

absl::StatusOr<Operations> StartOperations(const std::string& address,
                                           const std::string& bound_port_file,
                                           std::vector<Probe> probes, Metrics& metrics) {
  Operations operations;
  if (address.empty()) return operations;
  operations.readiness = std::make_unique<Readiness>(std::move(probes), kProbeInterval, metrics);
  ASSIGN_OR_RETURN(operations.endpoint,
                   OperationsEndpoint::Start(address, metrics, *operations.readiness));
  if (!bound_port_file.empty()) {
    RETURN_IF_ERROR(WriteFileAtomically(bound_port_file,
                                        absl::StrCat(operations.endpoint->bound_port(), "\n")));
  }
  return operations;
}

}  // namespace backup
