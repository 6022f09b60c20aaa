#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "bridge/bridge_metrics.h"
#include "bridge/net/body_source.h"
#include "bridge/net/connection.h"
#include "bridge/net/defender.h"
#include "bridge/request/decision.h"
#include "bridge/request/forwarder.h"
#include "bridge/request/framing.h"
#include "bridge/request/recent_uploads.h"
#include "bridge/upload/upload_content.h"
#include "bridge/wire/dialects.h"

namespace backup::bridge {

struct SessionOptions {
  // What clients may speak. Never null.
  std::shared_ptr<const wire::DialectSet> dialects;
  BodyLimits body;
  FramingOptions framing;
  // For a client that never reads.
  absl::Duration write_timeout = absl::Seconds(30);
  // How much of a refused body is read, and for how long, to keep the connection usable. After a
  // larger one it is closed.
  uint64_t drain_limit_bytes = uint64_t{64} << 20;
  absl::Duration drain_timeout = absl::Seconds(30);
  // Some clients register again and again if they dislike an answer.
  int max_registrations = 64;
  // Retry notices in a row on one connection.
  int max_retries = 64;
  BridgeMetrics metrics = {};
};

// What is to become of a connection once a request was served.
struct Served {
  enum class Next {
    kKeep,    // Wait for the next request.
    kLinger,  // Close, but not while bytes are still coming: that would make the peer lose the last
              // answer.
    kClose,   // Close at once.
  };
  Next next = Next::kKeep;
  CloseReason reason = CloseReason::kEof;  // Why, unless it is kKeep.
  // What the request tells of whoever sent it: what no client does, or what only one that is known
  // can do.
  std::optional<Offence> offence = std::nullopt;
  bool is_of_known_client = false;
  // An answer to be sent only if the client does not go on by itself (docs/wire-protocol.md, "Retry
  // notice"); `next` is for once it was sent.
  std::string lazy_answer = "";
};

// What all sessions share; outlives them.
struct SessionContext {
  Forwarder& forwarder;
  const SessionOptions& options;
  // Runs what waits for a client on a thread that may. Thread-safe; does not wait itself.
  std::function<void(std::function<void()>)> run_on_worker;
  BodyBudget& body_budget;
  RecentUploads& uploads;
};

// The conversation on one connection: one request after the other, each answered before the next is
// read. Each is decided, invoked and answered, on whichever thread knows how it goes on; only what
// waits for the client is a worker's. Between requests it remembers who the client is and how it
// speaks. Used by one thread at a time.
class Session {
 public:
  // `connection` must outlive this, and is used by nobody else while a request is served.
  Session(Connection& connection, const SessionContext& context)
      : connection_(connection),
        context_(context),
        options_(context.options),
        candidates_(context.options.dialects->all()),
        framing_(context.options.framing) {}

  // Decides what the bytes read ahead ask for: whether there is something to be served, or refused.
  bool HasRequest();

  // Whether what HasRequest() has found is a registration, as far as it is understood yet.
  bool IsRegistration() const;

  // Serves what HasRequest() has found. Waits for nothing. `done` is called once, on any thread,
  // perhaps before this returns, and must not block; there may be further requests read ahead then.
  // Until then the session and its connection are used by nobody else.
  void Serve(std::function<void(Served)> done);

  // Of bytes that do not become a head in time, or at all: whether they are of another protocol,
  // which is logged and counted.
  bool IsForeign() const;
  // Answers such bytes, if they are not, or what HasRequest() has found, with a general error.
  void RefuseUnserved();

 private:
  // The last file that came in packets.
  struct PacketFile {
    std::string name;
    PacketOrder order;
  };
  // The request that is being served.
  struct Exchange {
    const wire::Dialect& dialect;
    wire::DecodedHead head;
    // Whose it is; nothing if it registers, or is only known to the service, by its name.
    std::optional<ClientId> client;
    MonotonicTime begin;
  };
  // What is kept of it until it is answered.
  struct Current {
    Decision decision;
    CallOrigin origin = {};
    ClientOrder::Place place = {};
    std::optional<Exchange> exchange = {};
    std::string content = "";  // Of a small file that did not come with its head.
    std::function<void(Served)> done = {};
    std::optional<Offence> offence = std::nullopt;
    bool is_of_known_client = false;
  };
  // What came of it, and whether its body leaves the connection usable.
  struct Outcome {
    Forwarded forwarded;
    Served served = {};
    uint64_t body_bytes = 0;
  };

  // Deciding.
  KnownOfSender Known() const;
  CallOrigin NewOrigin() const;
  void Proceed();
  void LookUpProfile(const NeedProfile& need);
  void Begin(Ready ready);
  std::optional<ClientId> ClientOf(const wire::Dialect& dialect,
                                   const wire::Request& request) const;
  ClientOrder::Place TakePlace();
  absl::Status CheckLimits();
  bool HasComeWhole() const;

  // Forwarding.
  void ForwardWhole(const WholeContent& content, ClientOrder::Place place,
                    std::function<void(Forwarded)> done);
  Sender MakeSender(bool in_segments) const;

  // Receiving, on a worker.
  void ReceiveFile();
  // A packet after the last of a file: it is read and not answered.
  bool IsSurplus(const wire::SendFile& file) const;
  void DropSurplus();
  void ForwardBody(const UploadContent& content);
  void ForwardSmall(const UploadContent& content);
  // Reads what is left of a body that was not wanted, if it is not too much.
  Served Settle(Body& body) const;
  void ReportBadPart(const absl::Status& rule);

  // Answering.
  void FinishMessage(Outcome outcome);
  void TakePadding();
  void Finish(const Outcome& outcome);
  void Report(const Outcome& outcome, Served served);
  void Conclude(Served served);
  Served AfterAnswer(Served served) const;

  void WriteGeneralError(const wire::Dialect& dialect);
  Served RefuseNow(const Refusal& refusal);
  Served RefuseFor(const absl::Status& error);
  void WarnOfForeignProtocol(absl::string_view protocol) const;
  void CountError(absl::string_view kind) const;

  Connection& connection_;
  const SessionContext& context_;
  const SessionOptions& options_;

  // Of the connection.
  wire::DialectMask candidates_;              // Understood the requests so far.
  const wire::Dialect* dialect_ = nullptr;    // Of the last request.
  std::optional<ClientId> client_;            // Who was told who it is, or said so, last.
  std::optional<v1::LegacyProfile> profile_;  // If it was looked up before the first request.
  Framing framing_;
  std::optional<PacketFile> last_packets_;
  int requests_ = 0;
  int registrations_ = 0;
  int retries_ = 0;  // In a row.

  std::unique_ptr<Current> current_;  // Null while nothing is to be served: most connections wait.
};

}  // namespace backup::bridge
