#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "bridge/bridge_metrics.h"
#include "bridge/net/body_source.h"
#include "bridge/net/connection.h"
#include "bridge/request/decision.h"
#include "bridge/request/forwarder.h"
#include "bridge/request/framing.h"
#include "bridge/request/recent_uploads.h"
#include "bridge/upload/packet_source.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

struct SessionOptions {
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
  // How long a file in blocks waits for one more where sizes do not tell whether there is one.
  absl::Duration next_block_timeout = absl::Milliseconds(300);
  // Of the dialects that share request codes, the one of a client of which nothing is known.
  std::string family_of_shared_codes = "C";
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
};

// The conversation on one connection: one request after the other, each answered before the next is
// read. Each is decided, invoked and answered, on whichever thread knows how it goes on; only what
// waits for the client is a worker's. Between requests it remembers how the client speaks and which
// files it sent. Used by one thread at a time.
class Session {
 public:
  // `connection` must outlive this, and is used by nobody else while a request is served.
  Session(Connection& connection, const SessionContext& context)
      : connection_(connection),
        context_(context),
        options_(context.options),
        framing_(context.options.framing) {}

  // Decides what the bytes read ahead ask for: whether there is something to be served, or refused.
  bool HasRequest();

  // Serves what HasRequest() has found. Waits for nothing. `done` is called once, on any thread,
  // perhaps before this returns, and must not block; there may be further requests read ahead then.
  // Until then the session and its connection are used by nobody else.
  void Serve(std::function<void(Served)> done);

  // Of bytes that do not become a head in time, or at all: whether they are of another protocol,
  // which is logged and counted.
  bool IsForeign() const;
  // Answers such bytes, if they are not, with a general error.
  void RefuseIncomplete();

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
  absl::Status CheckLimits();
  bool HasComeWhole() const;

  // Forwarding.
  void ForwardWhole(absl::string_view content, ClientOrder::Place place,
                    std::function<void(Forwarded)> done);
  // What the request shows of its sender.
  v1::LegacyProfile Observed(bool in_segments) const;

  // Receiving, on a worker.
  void ReceiveFile();
  void ReceivePackets(const wire::SendFile& file);
  void ReceiveBlocks();
  // A packet after the last of a file: it is read and not answered.
  bool IsSurplus(const wire::SendFile& file) const;
  void DropSurplus();
  // Forwards `content`, which comes from `body`. `received_bytes` tells how much has come.
  void ForwardBody(Body& body, const StreamedContent& content,
                   const std::function<uint64_t()>& received_bytes);
  void ForwardSmall(Body& body, const std::function<uint64_t()>& received_bytes);
  // Reads what is left of a body that was not wanted, if it is not too much.
  Served Settle(Body& body) const;
  void ReportBadPart(const absl::Status& rule);

  // Answering.
  void FinishMessage(Outcome outcome);
  void TakePadding(uint64_t message_size);
  void Finish(const Outcome& outcome);
  void Report(const Outcome& outcome, Served served);
  void Conclude(Served served);
  Served AfterAnswer(Served served) const;

  Served RefuseNow(const Refusal& refusal);
  Served RefuseFor(const absl::Status& error);
  void WarnOfForeignProtocol(absl::string_view protocol) const;
  void CountError(absl::string_view kind) const;

  Connection& connection_;
  const SessionContext& context_;
  const SessionOptions& options_;

  // Of the connection.
  const wire::Dialect* dialect_ = nullptr;    // Of the requests so far.
  std::optional<v1::LegacyProfile> profile_;  // If it was looked up before the first request.
  Framing framing_;
  std::optional<PacketFile> last_packets_;
  RecentUploads uploads_;
  int requests_ = 0;
  int registrations_ = 0;
  int retries_ = 0;  // In a row.

  std::unique_ptr<Current> current_;  // Null while nothing is to be served: most connections wait.
};

}  // namespace backup::bridge
