import json

from django.conf import settings
from django.http import JsonResponse
from django.views.decorators.http import require_POST

from shop.orders import place
from shop.queue import place_in_turn


@require_POST
def commit(request):
    """POST {"address_id": …, "pay_method": 1 or 2}; the header X-User is the user who is logged in."""
    user_id = int(request.headers["X-User"])
    body = json.loads(request.body)
    address_id, pay_method = body["address_id"], body["pay_method"]
    if settings.SHOP_CURE == "queue":
        answer = place_in_turn(user_id, address_id, pay_method)
    else:
        answer = place(settings.SHOP_CURE, user_id, address_id, pay_method)
    return JsonResponse(answer)
