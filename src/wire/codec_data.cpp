#include "engine.h"
#include "esc/wire/api/fetch.h"
#include "esc/wire/api/list_offsets.h"
#include "esc/wire/api/produce.h"

namespace esc::wire {

ESC_WIRE_INSTANTIATE_CODEC(ProduceRequest);
ESC_WIRE_INSTANTIATE_CODEC(ProduceResponse);
ESC_WIRE_INSTANTIATE_CODEC(FetchRequest);
ESC_WIRE_INSTANTIATE_CODEC(FetchResponse);
ESC_WIRE_INSTANTIATE_CODEC(ListOffsetsRequest);
ESC_WIRE_INSTANTIATE_CODEC(ListOffsetsResponse);

}  // namespace esc::wire
