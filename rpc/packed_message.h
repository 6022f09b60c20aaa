#pragma once

#include "grpcpp/impl/codegen/config_protobuf.h"
#include "grpcpp/support/byte_buffer.h"

namespace backup::rpc {

// `message` as it is on the wire. Thread-safe, as is:
grpc::ByteBuffer Pack(const grpc::protobuf::MessageLite& message);

// Reads `packed`, which is empty then, into `message`. False if it is no such message.
bool Unpack(grpc::ByteBuffer& packed, grpc::protobuf::MessageLite& message);

}  // namespace backup::rpc
