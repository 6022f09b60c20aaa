#pragma once

namespace backup::rpc {

// Makes gRPC's own log part of ours, with its severities, files and lines; by itself gRPC writes to
// standard error from whichever thread logs. Before the first use of gRPC.
void SendGrpcLogToGlog();

// Makes gRPC log nothing: a command line says itself what went wrong. Before the first use of gRPC.
void DropGrpcLog();

}  // namespace backup::rpc
