#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "bridge/bridge_metrics.h"
#include "bridge/connection.h"
#include "bridge/forwarder.h"
#include "bridge/packet_source.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

struct SessionOptions {
  BodyLimits body;
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
  // How long the padding of a first message may take that comes in blocks; of later ones.
  absl::Duration first_padding_timeout = absl::Milliseconds(30);
  absl::Duration padding_timeout = absl::Seconds(2);
  // How long a file in blocks waits for one more where sizes do not tell whether there is one.
  absl::Duration next_block_timeout = absl::Milliseconds(300);
  // Of the dialects that share request codes, the one of a client of which nothing is known.
  std::string family_of_shared_codes = "C";
  BridgeMetrics metrics = {};
};

// What is to become of a connection once its requests were served.
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

// The conversation on one connection: one request after the other, each answered before the next is
// read. Between requests it remembers only how the client speaks. Used by one thread at a time.
class Session {
 public:
  // All must outlive this. `connection` is used by nobody else while Serve() runs.
  Session(Connection& connection, Forwarder& forwarder, const SessionOptions& options)
      : connection_(connection), forwarder_(forwarder), options_(options) {}

  // Serves every request whose head was read ahead. Waits for the client and the service.
  Served Serve();

  // Serves the first request that was read ahead without waiting for anything: the service's answer
  // is awaited on no thread. `done` is called once, on any thread, perhaps before this returns, and
  // must not block: with what is to become of the connection, which may have further requests read
  // ahead, or with nothing if Serve() must be called after all. False if it must be called at once;
  // `done` is not called then. Until then the session and its connection are used by nobody else.
  bool StartServing(std::function<void(std::optional<Served>)> done);

 private:
  enum class Framing { kUnknown, kStream, kBlocks };
  // The last file that came in packets.
  struct PacketFile {
    std::string name;
    PacketOrder order;
  };
  // One request and what is known of it.
  struct Exchange {
    const wire::Dialect& dialect;
    const wire::DecodedHead& head;
    const CallOrigin& origin;
  };
  // What came of a request, and whether its body leaves the connection usable.
  struct Outcome {
    Forwarded forwarded;
    Served served;
    uint64_t body_bytes = 0;
  };
  // A request that is being served without a thread.
  struct Started {
    const wire::Dialect& dialect;
    wire::DecodedHead head;
    CallOrigin origin;
    MonotonicTime begin;
    std::function<void(std::optional<Served>)> done;
  };

  CallOrigin NewOrigin();
  // Of a request that is decided: whether it came whole, and can be served without waiting for
  // anything but the service.
  bool CanStart(const wire::Dialect& dialect, const wire::DecodedHead& head) const;
  void FinishStarted(std::optional<Forwarded> forwarded);
  // Whether the client's record has to say which of the dialects it speaks, or in what framing.
  bool NeedsProfile(const wire::RequestHeader& header,
                    const std::vector<const wire::Dialect*>& candidates) const;
  // The dialect of a request, by what is known of the client; also its framing.
  const wire::Dialect& Choose(const LegacyProfile& profile,
                              const std::vector<const wire::Dialect*>& candidates);
  // The dialect of a request with this header. InvalidArgument if the client has changed it;
  // another error if the client's record is needed and cannot be read.
  absl::StatusOr<const wire::Dialect*> ChooseDialect(
      const CallOrigin& origin, const wire::RequestHeader& header,
      const std::vector<const wire::Dialect*>& candidates);
  bool GoesOn(const Served& served) const;
  Served ServeRequest(const Exchange& exchange);
  // Answers, counts and logs a request.
  Served Finish(const Exchange& exchange, const Outcome& outcome, MonotonicTime begin);
  Outcome ForwardWhole(const Exchange& exchange);
  Outcome ForwardPackets(const Exchange& exchange);
  Outcome ForwardBlocks(const Exchange& exchange);
  Forwarded Forward(const Exchange& exchange, Body& body, const FileContent& content);
  // A packet after the last of a file: it is read and not answered.
  bool IsSurplus(const wire::DecodedHead& head) const;
  Served DropSurplus(const wire::DecodedHead& head);
  // Counts what a client may do only so often on a connection.
  absl::Status CheckLimits(const Exchange& exchange);
  // `requests` is how many have come on this connection, this one included.
  LegacyProfile Observed(const wire::Dialect& dialect, const wire::Request& request, int requests,
                         absl::string_view file_style) const;
  // Finds out whether messages are padded to whole blocks, and takes the padding of this one, which
  // had so many bytes.
  void SettleFraming(const Exchange& exchange, uint64_t size);
  // Reads what is left of a body that was not wanted, if it is not too much.
  Served Settle(Body& body) const;
  Served Answer(const Exchange& exchange, const wire::Reply& reply, Served served);
  void CountError(absl::string_view kind) const;
  // An answer in the client's framing.
  std::string Framed(std::string answer) const;
  Served RefuseUnknown(const wire::RequestHeader& header);
  Served RefuseMalformed(const wire::Dialect& dialect, const wire::RequestHeader& header,
                         const CallOrigin& origin, const absl::Status& rule);
  Served RefuseFor(const wire::Dialect& dialect, const absl::Status& error);

  Connection& connection_;
  Forwarder& forwarder_;
  const SessionOptions& options_;
  const wire::Dialect* dialect_ = nullptr;  // Of the requests so far.
  Framing framing_ = Framing::kUnknown;
  std::optional<PacketFile> last_packets_;
  std::optional<Started> started_;
  // Of a request that was started and has to be served by Serve(): it stays the same request.
  std::optional<CallOrigin> unfinished_;
  int requests_ = 0;
  int registrations_ = 0;
  int retries_ = 0;  // In a row.
};

// Whether `bytes`, the first of a request, decide what it asks: a whole head, or one that no more
// bytes can make right.
bool HeadIsDecided(absl::string_view bytes);

// The general error, as the client that sent `bytes` understands it.
std::string EncodeGeneralError(absl::string_view bytes);

// One WARNING line, and counted, if `bytes` are of another protocol that we know; whether they are.
bool WarnOfForeignProtocol(const Connection& connection, absl::string_view bytes,
                           const BridgeMetrics& metrics);

}  // namespace backup::bridge
